"""Prompts: a text and messages that together fit into a budget of tokens.

Tokens are counted as sent to a model: each message, and the text as a system message, has a frame and a role besides
its own tokens, and its name, if any.
"""

from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard, TypeVar

from models.rows import MessageRow, SearchedRow
from models.statements import is_message

R = TypeVar("R")

SITUATION, ABOUT_AGENT, ABOUT_USER, SUMMARY, MEMORIES, DOCUMENTS, SAID, NEWEST = range(8)
TITLES = (
    *("Situation", "About the assistant", "About the user", "Summary", "What is known", "Documents", "Said before"),
    "The newest message, cut",
)
"""The headings of the sections, in their order."""

QUOTES = (SAID, NEWEST)
"""The sections whose pieces are messages."""

APART, NEAR = "…", 3
"""The mark between turns of a day, and the distance in turns beyond which it is used."""

WIDEST_TOKEN = 64
"""Characters of a token, at most."""

FRAME, ROLE, NAME = 3, 1, 1
"""Tokens around a message and of its role; and what its name takes besides the name's own tokens."""


def size_of(message: MessageRow, count: Callable[[str], int]) -> int:
    """Tokens that a message takes in a prompt."""
    name = message["name"]
    return message["token_count"] + FRAME + ROLE + (NAME + count(name) if name else 0)


@dataclass(frozen=True, order=True)
class Piece:
    """A part of the text. `position` is its order within its section, `group` a heading that it shares with others."""

    section: int
    position: tuple[Any, ...]
    text: str = field(compare=False)
    group: str = field(default="", compare=False)
    node: SearchedRow | None = field(default=None, compare=False)


class Prompt:
    """A prompt under construction, most important pieces first. A piece that does not fit is omitted whole."""

    def __init__(self, budget: int, count: Callable[[str], int]) -> None:
        self.budget = budget
        self._count = count
        self._added: list[Piece | list[MessageRow]] = []
        self._pieces: list[Piece] = []
        self._headings: set[tuple[int, str]] = set()
        self._messages: dict[int, MessageRow] = {}
        self._quoted: set[tuple[bytes, int]] = set()
        self._taken = 0

    @property
    def left(self) -> int:
        """Approximate tokens left: the exact number is known once the text is complete (see `close`)."""
        return self.budget - self._taken

    def settle(self) -> None:
        """Recounts the pieces: together they take fewer tokens than one by one."""
        self._taken = min(self._taken, self.tokens)

    def add(self, piece: Piece, within: int | None = None) -> bool:
        """Adds a piece if it fits into a number of tokens, by default the remaining ones."""
        limit = self.left if within is None else min(within, self.left)
        # Counting takes time in proportion, and so few tokens no text has.
        if len(piece.text) // WIDEST_TOKEN > limit:
            return False
        headings = {(piece.section, ""): f"## {TITLES[piece.section]}", (piece.section, piece.group): piece.group}
        new = {heading: text for heading, text in headings.items() if heading not in self._headings}
        size = sum(self._count(text) + 1 for text in (piece.text, *new.values()))
        size += 0 if self._pieces else FRAME + ROLE
        if piece.section == SAID and not new and not self._is_near(piece):
            size += self._count(APART) + 1
        if size > limit:
            return False
        self._headings |= new.keys()
        if piece.section in QUOTES and is_message(piece.node):
            self._quoted.add((piece.node["session_key"], piece.node["sequence"]))
        insort(self._pieces, piece)
        self._added.append(piece)
        self._taken += size
        return True

    def _is_near(self, piece: Piece) -> bool:
        """True if a turn shortly before or after this one is quoted."""
        node = piece.node
        steps = (*range(-NEAR, 0), *range(1, NEAR + 1))
        return is_message(node) and any(
            (node["session_key"], node["sequence"] + step) in self._quoted for step in steps
        )

    def add_messages(self, messages: Sequence[MessageRow], within: int | None = None) -> bool:
        """Adds messages of the session that belong together, if they fit; those already added cost nothing."""
        new = [message for message in messages if not self.has(message)]
        size = sum(size_of(message, self._count) for message in new)
        if size > (self.left if within is None else min(within, self.left)):
            return False
        self._messages |= {message["sequence"]: message for message in new}
        self._added.append(new)
        self._taken += size
        return True

    def close(self) -> bool:
        """Removes the pieces added last until all fits: a text may take more tokens than its parts. False if messages
        had to be removed."""
        kept = True
        while self._added and self.tokens > self.budget:
            last = self._added.pop()
            if isinstance(last, Piece):
                self._pieces.remove(last)
            else:
                kept = kept and not last
                for message in last:
                    del self._messages[message["sequence"]]
        return kept

    def remove(self, node: SearchedRow) -> None:
        """Removes a piece of the text."""
        for piece in [piece for piece in self._pieces if piece.node is node]:
            self._pieces.remove(piece)
            self._added.remove(piece)
            self._taken -= self._count(piece.text) + 1

    @property
    def quoted(self) -> list[MessageRow]:
        """The messages that the text quotes."""
        return [node for section in QUOTES for node in self.nodes(section, is_message)]

    def has(self, message: MessageRow) -> bool:
        """True if the prompt has this message of the session."""
        return message["sequence"] in self._messages

    def fits(self, units: Sequence[Sequence[MessageRow]]) -> bool:
        """True if all these messages fit into the remaining tokens."""
        new = (message for unit in units for message in unit if not self.has(message))
        return sum(size_of(message, self._count) for message in new) <= self.left

    def quotes(self, node: SearchedRow) -> bool:
        """True if the text quotes a message."""
        return is_message(node) and (node["session_key"], node["sequence"]) in self._quoted

    @property
    def tokens(self) -> int:
        """Counts the tokens of the text and the messages."""
        framed = self._count(self.text) + FRAME + ROLE if self._pieces else 0
        return framed + sum(size_of(message, self._count) for message in self._messages.values())

    @property
    def text(self) -> str:
        lines: list[str] = []
        last: Piece | None = None
        for piece in self._pieces:
            if last is None or piece.section != last.section:
                lines += ["", f"## {TITLES[piece.section]}"] if lines else [f"## {TITLES[piece.section]}"]
            if piece.group and (last is None or (piece.section, piece.group) != (last.section, last.group)):
                lines.append(piece.group)
            elif last is not None and last.section == piece.section == SAID and _are_apart(last, piece):
                lines += [] if last.text.endswith(APART) else [APART]
            lines.append(piece.text)
            last = piece
        return "\n".join(lines)

    @property
    def messages(self) -> list[MessageRow]:
        """In the order in which they were said."""
        return sorted(self._messages.values(), key=lambda message: (message["created_at"], message["sequence"]))

    def texts(self, section: int) -> list[str]:
        """The texts of the pieces of a section."""
        return [piece.text for piece in self._pieces if piece.section == section]

    def nodes(self, section: int, is_of: Callable[[object], TypeGuard[R]]) -> list[R]:
        """The rows of a kind in a section, in the order of its pieces."""
        nodes = [piece.node for piece in self._pieces if piece.section == section]
        return [node for node in nodes if is_of(node)]


def _are_apart(earlier: Piece, later: Piece) -> bool:
    """True if two turns of a day are far apart, or of different sessions."""
    first, second = earlier.node, later.node
    if not (is_message(first) and is_message(second)):
        return False
    return first["session_key"] != second["session_key"] or abs(second["sequence"] - first["sequence"]) > NEAR
