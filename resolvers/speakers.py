"""Speakers: the author of a message and the subject of its statements, either the session's user or somebody else."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from models.formation import is_spoken_of
from models.keys import folded
from models.messages import first_speakers
from models.rows import MessageRow, SessionRow, UserRow
from models.scope import Scope
from models.store import Reader
from models.users import users_by_key
from resolvers.inputs import KEY_CHARACTERS
from resolvers.users import display_name

_WORDS = """
    user human customer client me
    Benutzer Benutzerin Nutzer Nutzerin Anwender Anwenderin Mensch Kunde Kundin Klient Klientin ich
    usuario usuaria humano humana cliente clienta yo
    utilisateur utilisatrice humain humaine cliente moi
    utente umano umana io
    usuário usuária utilizador utilizadora eu
    gebruiker gebruikster mens klant cliënt ik
    användare människa kund klient jag  bruger bruker menneske kunde jeg  käyttäjä ihminen asiakas minä
    użytkownik użytkowniczka człowiek klient klientka  uživatel uživatelka člověk zákazník
    felhasználó ügyfél  utilizator utilizatoare  kullanıcı müşteri  χρήστης χρήστρια άνθρωπος πελάτης πελάτισσα εγώ
    пользователь пользовательница человек клиент клиентка покупатель я  користувач людина клієнт  потребител човек
    用户 用戶 使用者 人类 人類 客户 客戶 顾客 顧客 我  ユーザー ユーザ 人間 お客様 私  사용자 유저 인간 고객
    مستخدم المستخدم إنسان عميل أنا  משתמש לקוח אני  उपयोगकर्ता ग्राहक मैं  pengguna pelanggan saya  ผู้ใช้ มนุษย์ ลูกค้า ฉัน
"""
# Without words that are also names: Turkish "ben", Romanian "om", Hungarian "ember".
ROLE_WORDS = frozenset(map(folded, [*_WORDS.split(), "người dùng", "con người", "khách hàng", "tôi"]))
"""Names that only repeat the role: user, human, customer, client and me, in several languages."""


def own_names(user: UserRow) -> frozenset[str]:
    """The names that a user goes by in messages, folded."""
    both = " ".join(filter(None, (user["first_name"], user["last_name"])))
    email = user["email"] or ""
    names = (user["user_id"], user["name"], user["first_name"], both, email, email.partition("@")[0])
    return frozenset(folded(name) for name in names if name)


LONGEST_NAME = 100
"""Most characters of a speaker's name in front of a quotation."""


LONGEST_ROLE_WORD = max(map(len, ROLE_WORDS))


@lru_cache(maxsize=1024)
def _repeats_role(name: str) -> bool:
    return folded(name) in ROLE_WORDS


def is_users_own(role: str | None, name: str | None) -> bool:
    """True for a message of the session's user: of role USER, and without a name or with one that repeats the role."""
    if role != "USER" or not name:
        return role == "USER"
    # Long names would only fill the cache.
    return len(name) <= LONGEST_ROLE_WORD and _repeats_role(name)


def user_name(user: UserRow) -> str | None:
    """The display name of a user."""
    return display_name(user["name"], user["first_name"], user["last_name"])


def speaker_name(role: str | None, name: str | None, own: str | None) -> str | None:
    """The name of a message's speaker: the message's own name, or `own` for one of the session's user without one."""
    return own if is_users_own(role, name) else name


def speaker_of(row: MessageRow, user: UserRow | None) -> str:
    """The speaker of a message in texts for models, on one line; the role if there is no name."""
    name = speaker_name(row["role"], row["name"], None if user is None else user_name(user))
    return " ".join((name or "").split())[:LONGEST_NAME] or row["role"].capitalize()


@dataclass(frozen=True)
class Speakers:
    """The speakers of a session: `own` are the names of its user, folded."""

    own: frozenset[str] = frozenset()

    def about(self, name: str | None) -> str | None:
        """The name of the person that this speaker's statements are about; None for the user."""
        if name is None or not name.strip():
            return None
        return None if (plain := folded(name)) in ROLE_WORDS or plain in self.own else name

    def among(self, rows: Iterable[MessageRow]) -> list[str | None]:
        """The person that the statements of each USER message among these are about."""
        return [self.about(row["name"]) for row in rows if row["role"] == "USER"]


def is_nobodys(name: str | None) -> bool:
    """True if a name is too long to be a person's."""
    return name is not None and len(name) > KEY_CHARACTERS


async def speakers_of(read: Reader, scope: Scope, session: SessionRow, owner: bytes | None) -> Speakers:
    """The speakers of a session that has, or is about to get, this owner.

    If the user has no names, the first speaker with a name is the user, unless another uses the user's id or address.
    """
    user = None if owner is None else (await users_by_key(read, scope, [owner]))[0]
    if user is None:
        return Speakers()
    own = own_names(user)
    if any(user[name] for name in ("name", "first_name", "last_name")):
        return Speakers(own)
    names = await first_speakers(read, session)
    if not names or any(folded(name) in own for name in names):
        return Speakers(own)
    first = names[0]
    # Memories about that name from before the session had a user keep it, and later ones use it too.
    if await is_spoken_of(read, session, folded(first)):
        return Speakers(own)
    return Speakers(own | {folded(first)})


def speaker_among(speakers: Sequence[str | None], named: str | None) -> str | None:
    """The person that a memory with sources by these speakers is about: the one it names, else the user, else the
    first speaker."""
    plain = None if named is None else folded(named)
    for speaker in speakers:
        if speaker is not None and folded(speaker) == plain:
            return speaker
    return None if None in speakers or not speakers else speakers[0]
