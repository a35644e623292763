"""Intents: the request of a conversation's newest turn, with the turns that it refers to.

It is the newest USER turn that counts. Greetings, thanks and farewells ask for nothing; "yes" asks for what the
assistant has offered; and a short turn such as "and the second one?" is about the turns before it.
"""

import re
from collections.abc import Iterable, Sequence

from models.rows import MessageRow
from models.words import UNSPACED, words
from resolvers.contexts.asks import sentences_that_ask
from resolvers.contexts.courtesies import closes, is_courtesy
from resolvers.parts import said_in
from resolvers.search.english import STOP_WORDS

LOOKED_AT = 20
"""Number of newest turns that are searched for the request and the turns that it refers to."""

SHORT, SHORT_UNSPACED, FEW = 4, 10, 3
"""Words of a turn that is about the one before it, at most; characters where words have no spaces between them; or
words besides the most common ones, if it refers."""

GIST = 160
"""Approximate characters used of a preceding turn: a long answer must not drown the question."""

# Words that refer to something said before, and words that begin such a turn.
_REFERRING = """
it its that this these those they them their he him his she her one ones former latter same other others another
first second third fourth fifth last previous above instead again more too also
das dies diese dieser dieses es er sie ihn ihm ihr dort davon damit dafür dazu andere anderen anderer zweite zweiten
erste
ersten letzte letzten noch
ça cela celui celle ceux celles il elle ils elles lui leur autre autres premier première deuxième second seconde
dernier
eso esto ese esa esos esas aquel él ella ellos ellas otro otra primero primera segundo segunda último
quello quella questo questa quelli lui lei loro altro altra primo prima secondo seconda ultimo
isso aquilo esse essa ele ela eles elas outro outra primeiro segunda segundo último
dat die dit deze hij zij hem haar andere eerste tweede laatste
это этот эта эти он она они его её их тот другой второй второе вторая первый последний тоже
to ten ta te on ona oni drugi druga pierwszy inny też
"""
_CONNECTING = """
and but or so why how then und oder aber warum wieso et ou mais pourquoi y o pero e o ma anche mas também en of maar
ook
waarom и а но почему i a ale dlaczego
"""
_YES_OR_NO = """
yes yeah yep yup sure ok okay please do go ahead right correct no nope nah not exactly definitely absolutely ja nein
gerne klar bitte
genau doch oui non volontiers sí si no claro certo sì sim não claro nee graag да нет конечно tak nie evet hayır はい
いいえ 是 好 不 네 아니요
"""
_unspaced = re.compile(f"[{UNSPACED}]")
_referring, _connecting = frozenset(words(_REFERRING)), frozenset(words(_CONNECTING))
_yes_or_no = frozenset(words(_YES_OR_NO))


def asks_nothing(text: str, names: Iterable[str] = ()) -> bool:
    """True if a turn is a greeting, thanks, a farewell or the like, with or without names such as these."""
    return is_courtesy(text, names) or (closes(text, names) and not sentences_that_ask(text))


def asked_in(newest: Sequence[MessageRow]) -> str | None:
    """The request at the end of a conversation; None if there is none. The newest turn comes first."""
    names = {turn["name"] for turn in newest if turn["name"]}
    turns = [turn for turn in newest if turn["role"] in ("USER", "ASSISTANT") and said_in(turn).strip()]
    index = next((index for index, turn in enumerate(turns) if turn["role"] == "USER"), None)
    if index is None:
        return None
    # The user's last uninterrupted turns, newest first.
    while asks_nothing(said_in(turns[index]), names) and not _is_yes_or_no(said_in(turns[index])):
        index += 1
        if index == len(turns) or turns[index]["role"] != "USER":
            return None
    own, before = said_in(turns[index]), turns[index + 1 :]
    if _is_yes_or_no(own):
        return _answered(before)
    return "\n".join([own, *_referred_to(before, names)]) if _refers(own) else own


def _is_yes_or_no(text: str) -> bool:
    said = words(text)
    return 0 < len(said) <= SHORT and set(said) <= _yes_or_no


def _refers(text: str) -> bool:
    """True if a turn is understood only with those before it."""
    said = words(text)
    if len(text) > GIST:
        return False
    if _unspaced.search(text):
        return len(text) <= SHORT_UNSPACED
    content = [word for word in said if word not in STOP_WORDS and word not in _referring]
    refers = said[0] in _connecting or not _referring.isdisjoint(said) if said else False
    return len(said) <= SHORT or (len(content) <= FEW and refers)


def _answered(before: Sequence[MessageRow]) -> str | None:
    """The question that the user answers with yes or no: that of the preceding turn, if it asks one."""
    asked = sentences_that_ask(said_in(before[0]))[:1] if before else []
    if asked and before[0]["role"] == "ASSISTANT":
        asked += [_gist(turn) for turn in before[1:2]]
    return "\n".join(asked) or None


def _referred_to(before: Sequence[MessageRow], names: Iterable[str]) -> list[str]:
    """The preceding turn and, if that is an answer, the user's own turn before it."""
    found: list[str] = []
    for turn in before:
        if asks_nothing(said_in(turn), names):
            continue
        found.append(_gist(turn))
        if turn["role"] == "USER":
            break
    # The user's own words describe the topic best.
    return found[:-3:-1]


def _gist(turn: MessageRow) -> str:
    """A turn, or its beginning and the question at its end."""
    text = said_in(turn)
    if len(text) <= GIST:
        return text
    return "\n".join([text[:GIST].rpartition(" ")[0] or text[:GIST], *sentences_that_ask(text[-GIST:])[:1]])
