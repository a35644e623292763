"""Recall: selects and formats the messages and documents of a search for a context."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

from models.messages import messages_by_sequence
from models.rows import DocumentRow, MessageRow, SearchedRow, SessionRow, UserRow
from models.statements import is_document, is_memory, is_message
from models.stemming import term_of
from models.values import datetime_of
from models.words import words
from resolvers.contexts.courtesies import closes, is_courtesy, says_little
from resolvers.contexts.exchanges import is_turn
from resolvers.contexts.intents import asks_nothing
from resolvers.contexts.knowledge import Knowledge
from resolvers.contexts.prompts import DOCUMENTS, SAID, Piece, Prompt
from resolvers.contexts.windows import NO_WINDOW, Window
from resolvers.formation.dates import dated, local_day
from resolvers.operation_context import OperationContext
from resolvers.parts import said_in
from resolvers.search.passages import VERY_LONG, passage
from resolvers.search.questions import Question
from resolvers.speakers import speaker_of

PASSAGE, ANSWER = 1 / 4, 1 / 16
"""The share of the budget for one long text, and for one that only accompanies a question or an answer."""

MOST_PASSAGES, LEAST_OF_VERY_LONG = 20, 800
"""Long texts that are cut, at most; and characters that a passage of a very long text may have, at least."""

LEAST_QUOTE, WIDE_TOKEN = 8, 8
"""Tokens that a quoted turn takes, at least, and characters that a token of it has, at most, mostly."""

FAREWELL = 2
"""Words that thanks or a farewell may say besides where they are left out."""

ANSWERED_WITHIN = timedelta(days=1)
"""The longest time after a question in which the next turn counts as its answer."""

LONGEST_REPLY = 60
"""Characters of a turn that is understood only with the question before it, at most."""

_CHARACTERS = 4
"""Of a token, about, and at most."""


@dataclass
class Recall:
    """Adds search results to a prompt. `session` is the one of the window; `names` are those of the speakers."""

    context: OperationContext
    prompt: Prompt
    question: Question
    knowledge: Knowledge
    user: UserRow | None = None
    session: SessionRow | None = None
    window: Window = NO_WINDOW
    names: set[str] = field(default_factory=set[str])
    _passages: int = 0
    _texts: set[str] = field(default_factory=set[str])

    async def add(self, found: Sequence[SearchedRow], most: int) -> None:
        """Adds the answers to the question, best first, up to a number of tokens."""
        floor = self.prompt.left - most
        if not self.names:
            spoken = [node for node in found if is_message(node)]
            self.names = {speaker_of(node, self.user) for node in spoken}
        neighbours = await self._neighbours(found[: most // LEAST_QUOTE])
        for rank, node in enumerate(found):
            left = self.prompt.left - floor
            if left < LEAST_QUOTE:
                return
            if is_memory(node):
                self.knowledge.add(self.prompt, node, left)
            elif is_document(node):
                await self._add_document(node, rank, left)
            elif (
                is_message(node)
                and self._may_fit(node, left)
                and not self._is_filler(node)
                and await self._add_message(node, left)
            ):
                for other in neighbours.get(_location(node), ()):
                    await self._add_message(other, self.prompt.left - floor, ANSWER)

    def _may_fit(self, node: MessageRow, most: int) -> bool:
        """False for a text that is certainly too long; this is cheaper than counting its tokens."""
        return len(node["content"]) // WIDE_TOKEN <= most or self._is_long(said_in(node))

    def _is_long(self, text: str, share: float = PASSAGE) -> bool:
        """True if only a passage of a text may be quoted."""
        return len(text) > int(self.prompt.budget * share) * _CHARACTERS

    async def add_said(self, message: MessageRow) -> bool:
        """Adds a recent message of another session; False if there is no room."""
        if asks_nothing(said_in(message), self.names) or self._is_there(message):
            return True
        return self._quote(message, said_in(message), self.prompt.left)

    async def _add_document(self, node: DocumentRow, rank: int, most: int) -> None:
        if text := await self._passage(node["content"], most):
            self.prompt.add(Piece(DOCUMENTS, (rank,), f"### {node['title']}\n{text}", node=node), most)

    async def _add_message(self, node: MessageRow, most: int, share: float = PASSAGE) -> bool:
        """Adds a message among the session's own, or quotes it, at most such a share of the budget; false if it does
        not fit."""
        if self._is_there(node) or (self._is_own(node) and self._stands(node, most)):
            return True
        text = await self._passage(said_in(node), most, share)
        return bool(text) and self._quote(node, text, most)

    def _is_there(self, node: MessageRow) -> bool:
        """True if a message is quoted, or the context says the same already."""
        if self.prompt.quotes(node) or (self._is_own(node) and self.prompt.has(node)):
            return True
        return f"{node['name']}\n{said_in(node)}" in self._texts or self.knowledge.tells(self.prompt, node)

    def _is_own(self, node: MessageRow) -> bool:
        """True for one of the session's requested messages."""
        own = self.session is not None and node["session_key"] == self.session["key"]
        return own and self.window.has(node)

    def _stands(self, message: MessageRow, most: int) -> bool:
        """True if a message of the session is among the messages, or may not be in a prompt; others can be quoted.

        Tool calls and their answers are only added together with the turns around them.
        """
        if message["sequence"] in self.window.broken:
            return True
        return is_turn(message) and self.prompt.add_messages([message], most)

    async def _passage(self, text: str, most: int, share: float = PASSAGE) -> str:
        """The text, or the best passage of a long one; empty if too short a passage would remain."""
        if not self._is_long(text, share):
            return text
        longest = min(int(self.prompt.budget * share), most) * _CHARACTERS
        self._passages += 1
        if self._passages > MOST_PASSAGES or (len(text) > VERY_LONG and longest < LEAST_OF_VERY_LONG):
            return ""
        return await self.context.in_thread(passage, text, self.question, longest)

    def _quote(self, message: MessageRow, text: str, most: int) -> bool:
        day = local_day(message["created_at"], message["utc_offset"])
        dates = dated(text, day) if len(text) // WIDE_TOKEN <= most else []
        position = (message["created_at"], message["session_key"], message["sequence"])
        noted = f"{text} ({'; '.join(dates)})" if dates else text
        line = f"{speaker_of(message, self.user)}: {noted}"
        if not self.prompt.add(Piece(SAID, position, line, group=day.isoformat(), node=message), most):
            return False
        self._texts.add(f"{message['name']}\n{said_in(message)}")
        return True

    def _is_filler(self, node: MessageRow) -> bool:
        """True if a turn says hardly anything, and has none of the query's words."""
        text, names = said_in(node), self.names
        little = is_courtesy(text, names) or says_little(text, names) or closes(text, names, besides=FAREWELL)
        return little and self._asked_for.isdisjoint(map(term_of, words(text)))

    @cached_property
    def _asked_for(self) -> set[str]:
        """The terms of the question but for the names of speakers, whom anybody may greet."""
        return self.question.terms.keys() - {term_of(word) for name in self.names for word in words(name)}

    async def _neighbours(self, found: Sequence[SearchedRow]) -> dict[tuple[bytes, int], list[MessageRow]]:
        """For a turn that asks the turn after it, and for a short reply the question before it."""
        wanted: dict[tuple[bytes, int], tuple[bytes, int]] = {}
        for node in found:
            if not is_message(node):
                continue
            key, sequence = _location(node)
            if _asks(node):
                wanted[key, sequence + 1] = (key, sequence)
            elif len(node["content"]) <= LONGEST_REPLY:
                wanted[key, sequence - 1] = (key, sequence)
        with self.context.allowance.passing():
            rows = await messages_by_sequence(self.context.read, self.context.scope, list(wanted)) if wanted else []
        of = {_location(node): node for node in found if is_message(node)}
        pairs: dict[tuple[bytes, int], list[MessageRow]] = {}
        for row in rows:
            if row is None:
                continue
            node = of[wanted[_location(row)]]
            question, answer = (node, row) if row["sequence"] > node["sequence"] else (row, node)
            if _asks(question) and _follows(question, answer) and row["role"] in ("USER", "ASSISTANT"):
                pairs.setdefault(_location(node), []).append(row)
        return pairs


def _location(message: MessageRow) -> tuple[bytes, int]:
    return message["session_key"], message["sequence"]


def _asks(message: MessageRow) -> bool:
    return said_in(message)[-200:].rstrip(" \"')]").endswith(("?", "？", "؟"))


def _follows(question: MessageRow, answer: MessageRow) -> bool:
    """True if a turn followed soon after another: one that was added late may be an older turn."""
    first, second = (datetime_of(row["created_at"]) for row in (question, answer))
    return first <= second <= first + ANSWERED_WITHIN
