"""Exchanges: a tool call and all its answers, which a prompt has together or not at all.

They are matched by call id, never by position: models refuse an answer without its call and a call without its answers.
An answer belongs to the last call before it with the same id. Only a call that is followed by nothing but its own
answers may be open, since the model is waiting for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from models.parts import read_calls
from models.rows import MessageRow
from resolvers.parts import TOOLS, answered_ids, call_ids

UNNAMED = "\0"
"""Prefix of a function's name in place of an id, for calls without one (OpenAI's older `function_call`)."""


def calls_in(message: MessageRow) -> list[str]:
    """The ids of the calls in a message; the names of the functions where `toolCalls` give none."""
    ids = call_ids(message)
    if ids or message["tool_calls"] is None:
        return ids
    return [UNNAMED + text.partition(" ")[0] for text in read_calls(message["tool_calls"]).called]


def answers_in(message: MessageRow) -> list[str] | None:
    """The ids of the calls that a message answers; None for a message that is not an answer."""
    ids = answered_ids(message)
    if not ids and message["role"] == "FUNCTION" and message["name"] is not None:
        ids = [UNNAMED + message["name"]]
    return ids if ids or message["role"] in TOOLS else None


def is_turn(message: MessageRow) -> bool:
    """True for a message that neither calls a tool nor answers."""
    return not calls_in(message) and answers_in(message) is None


@dataclass
class _Group:
    """Messages that belong together by the ids of calls; `is_broken` when one of them lacks its call or an answer."""

    start: int
    members: list[int] = field(default_factory=list[int])
    is_broken: bool = False


def exchanges(messages: Sequence[MessageRow]) -> list[list[MessageRow]]:
    """Groups the messages (oldest first) that may be in a prompt, by their first message; each group in its order.

    A message that is neither a call nor an answer is a group of its own. Broken groups are omitted.
    """
    groups = _Groups(messages)
    for index, message in enumerate(messages):
        groups.answer(index, answers_in(message))
        groups.call(index, calls_in(message))
    groups.close()
    return [[messages[index] for index in group.members] for group in groups.whole]


class _Groups:
    """Takes messages in their order."""

    def __init__(self, messages: Sequence[MessageRow]) -> None:
        self._of = [_Group(index, [index]) for index in range(len(messages))]
        self._calls: dict[str, int] = {}
        self._waiting: dict[int, set[str]] = {}
        """The unanswered call ids of each message with calls."""

    def answer(self, index: int, ids: Sequence[str] | None) -> None:
        if ids is None:
            return
        group = self._of[index]
        group.is_broken = group.is_broken or not ids
        for id in ids:
            call = self._calls.get(id)
            if call is None:
                group.is_broken = True
            else:
                self._waiting[call].discard(id)
                self._join(self._of[call], self._of[index])

    def call(self, index: int, ids: Sequence[str]) -> None:
        for id in ids:
            self._calls[id] = index
        # A call without an id of its own may stay unanswered: it cannot be detected.
        self._waiting[index] = {id for id in ids if not id.startswith(UNNAMED)}

    def _join(self, earlier: _Group, later: _Group) -> None:
        if earlier is later:
            return
        first, second = sorted((earlier, later), key=lambda group: group.start)
        first.members = sorted(first.members + second.members)
        first.is_broken = first.is_broken or second.is_broken
        for index in second.members:
            self._of[index] = first

    def close(self) -> None:
        """Finds the calls that lack an answer."""
        open_call = self._open_call()
        for index, waiting in self._waiting.items():
            if waiting and index != open_call:
                self._of[index].is_broken = True

    def _open_call(self) -> int | None:
        """The index of the last call, if nothing but its own answers comes after it."""
        index = len(self._of) - 1
        while index >= 0 and not self._waiting[index]:
            index -= 1
        if index < 0 or any(self._of[later] is not self._of[index] for later in range(index + 1, len(self._of))):
            return None
        return index

    @property
    def whole(self) -> list[_Group]:
        seen = {group.start: group for group in self._of if not group.is_broken}
        return [seen[start] for start in sorted(seen)]
