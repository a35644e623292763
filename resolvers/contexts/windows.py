"""Windows: the newest messages of a session by time, as many as a budget can hold.

A message that was added late with an older `createdAt` is an older turn. `lastMessages` uses the same order.
"""

from dataclasses import dataclass
from functools import cached_property

from models.messages import Moment, count_messages, moment_of_newest, newest_messages
from models.rows import MessageRow, SessionRow
from resolvers.contexts.exchanges import exchanges
from resolvers.contexts.prompts import WIDEST_TOKEN, size_of
from resolvers.operation_context import OperationContext
from resolvers.parts import said_in

LARGEST_WINDOW = 10_000
"""Messages of a context, at most."""

FIRST_READ, MOST_READ = 4, 512
"""Messages that are read at first, when nothing says how long they are, and later, at most."""


@dataclass(eq=False)
class Window:
    """A session's newest messages, the newest first: as many as a budget can hold, and one more where there is one.

    `wanted` is how many were asked for, `first` the time and sequence of the oldest of these; None where that
    is all there are.
    """

    rows: list[MessageRow]
    wanted: int
    first: Moment | None

    @property
    def is_whole(self) -> bool:
        return len(self.rows) == self.wanted

    @cached_property
    def units(self) -> list[list[MessageRow]]:
        """The groups that may be in a prompt, newest first: single messages, and tool calls with their answers."""
        return exchanges(self.rows[::-1])[::-1]

    @cached_property
    def broken(self) -> set[int]:
        """Sequences of messages that may not be in a prompt: answers without a call, calls without all answers."""
        return {row["sequence"] for row in self.rows} - {row["sequence"] for unit in self.units for row in unit}

    def has(self, message: MessageRow) -> bool:
        """True for one of the session's requested messages."""
        return self.first is None or (message["created_at"], message["sequence"]) >= self.first


NO_WINDOW = Window([], 0, None)


async def read_window(context: OperationContext, session: SessionRow, budget: int, last: int | None) -> Window:
    """The window for a budget of tokens, with at most a number of messages."""
    count = await count_messages(context.read, session)
    wanted = count if last is None else min(count, last)
    rows: list[MessageRow] = []
    tokens, before = 0, None
    most, size = min(wanted, LARGEST_WINDOW), FIRST_READ
    while len(rows) < most and tokens <= budget:
        some = await newest_messages(context.read, session, min(size, most - len(rows)), before=before)
        if not some:
            break
        rows += some
        tokens += sum(_least(context, row) for row in some)
        before = rows[-1]["created_at"], rows[-1]["sequence"]
        # About as many as fit, by those that were read.
        size = min(MOST_READ, 2 + max(0, budget - tokens) * len(rows) // tokens)
    if wanted == count:
        return Window(rows, wanted, None)
    if len(rows) < wanted:
        before = await moment_of_newest(context.read, session, wanted - 1)
    return Window(rows, wanted, before)


def _least(context: OperationContext, message: MessageRow) -> int:
    """Tokens of a message, and what it takes at least, whatever the client said of it: else a window had no bound."""
    return max(size_of(message, context.count_tokens), len(said_in(message)) // WIDEST_TOKEN)
