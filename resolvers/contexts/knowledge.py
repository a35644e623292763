"""Knowledge: the memories in a context, without those that other parts of it repeat."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from models.memories import NEUTRAL, known_memories, sources_of_memories
from models.rows import AgentRow, MemoryRow, MessageRow, SearchedRow, SessionRow, UserRow
from models.statements import is_memory
from models.words import words
from resolvers.contexts.prompts import ABOUT_USER, MEMORIES, SUMMARY, Piece, Prompt
from resolvers.filters import Filter
from resolvers.formation.dates import dated, local_day
from resolvers.formation.extracts import sentence_in
from resolvers.operation_context import OperationContext
from resolvers.parts import said_in
from resolvers.search.english import STOP_WORDS

KINDS = ("FACT", "PREFERENCE", "EVENT")

STANDING, MOST_STANDING = 1 / 8, 3
"""The share of the budget for the first memories, and the number of facts that need not match."""

MOST_KNOWN = 100
"""Number of best rated memories that may fill the rest of a budget."""

MOST_OF_ONE = 1 / 4
"""The share of the budget that one of them may take."""

LONGEST, ADDED = 600, 3
"""Characters of a message that may say no more than a fact does, at most; and words, without the most common ones, that
are hardly more."""

_CHARACTERS = 4
"""Of a token, about."""


@dataclass(frozen=True)
class Knowing:
    """The owners of the memories of a context: the user, or a session without one, and the session's agent.

    `name` is the user's, for the user's own statements.
    """

    user: UserRow | None
    session: SessionRow | None
    agent: AgentRow | None
    name: str

    @property
    def owners(self) -> list[tuple[str, bytes]]:
        """The owners of memories, by the kind of owner and the key."""
        own: list[tuple[str, UserRow | SessionRow | AgentRow | None]]
        own = [("session", self.session) if self.user is None else ("user", self.user), ("agent", self.agent)]
        return [(kind, row["key"]) for kind, row in own if row is not None]

    def name_of(self, memory: MemoryRow) -> str:
        """The name of the person, or of the agent, that a memory is about."""
        of_agent = self.agent if memory["agent_key"] is not None else None
        return memory["about"] or (self.name if of_agent is None else of_agent["name"])


class Knowledge:
    """The memories for a context, best rated first, and those that match its query."""

    def __init__(self, knowing: Knowing, known: Sequence[MemoryRow], matching: Sequence[MemoryRow], now: str) -> None:
        self._knowing = knowing
        self._now = now
        self._matching = matching
        keys = {memory["key"] for memory in matching}
        # Events matter only if the query asks for them.
        self._rest = [
            memory
            for memory in known
            if memory["key"] not in keys and (memory["kind"] != "EVENT" or (memory["valid_from"] or "") > now)
        ]
        self._ranks = {memory["key"]: rank for rank, memory in enumerate([*matching, *self._rest])}
        self._all: list[str] = []
        self._told: list[str] = []
        self._lines: list[str] | None = None
        self._sources: dict[tuple[bytes, int], list[MemoryRow]] = {}

    def add_standing(self, prompt: Prompt) -> None:
        """Adds the few best rated facts, and then those that match."""
        self._all += map(_plain, prompt.texts(ABOUT_USER))
        floor = prompt.left - int(prompt.budget * STANDING)
        for memory in (*self._rest[:MOST_STANDING], *self._matching):
            self.add(prompt, memory, prompt.left - floor)

    def add_rest(self, prompt: Prompt) -> None:
        """Fills the rest of the budget, by rating and relevance."""
        matches = {memory["key"]: 1 / (1 + rank) for rank, memory in enumerate(self._matching)}

        def worth(memory: MemoryRow) -> float:
            return _rating(memory) + matches.get(memory["key"], 0.0)

        for memory in sorted((*self._matching, *self._rest), key=worth, reverse=True):
            self.add(prompt, memory, prompt.left)

    def add(self, prompt: Prompt, memory: MemoryRow, most: int) -> None:
        """Adds a memory, unless it is there or repeats another one."""
        if memory["kind"] not in KINDS or memory["key"] in {node["key"] for node in prompt.nodes(MEMORIES, is_memory)}:
            return
        told = _plain(memory["content"])
        if not any(told in other for other in self._all) and prompt.add(self._piece(memory), most):
            self._all.append(told)
            if memory["method"] != "RULE":
                self._told.append(told)

    def _piece(self, memory: MemoryRow) -> Piece:
        """ "Audrey: Keeps bees. (2026-03-01)", with the dates of words such as "yesterday"."""
        content, who = memory["content"], self._knowing.name_of(memory)
        day = local_day(memory["valid_from"] or memory["created_at"], None)
        end = memory["superseded_from"] or memory["valid_until"]
        period = day.isoformat() if end is None or end > self._now else f"{day} to {local_day(end, None)}"
        notes = [period, *(dated(content, day) if memory["kind"] != "EVENT" else ())]
        named = "" if _plain(content).startswith(_plain(who)) else f"{who}: "
        position = (self._ranks.get(memory["key"], len(self._ranks)),)
        return Piece(MEMORIES, position, f"- {named}{content} ({'; '.join(notes)})", node=memory)

    async def find_sources(self, context: OperationContext, prompt: Prompt) -> None:
        """Looks up the sources of the memories in the context."""
        shown = {memory["key"]: memory for memory in prompt.nodes(MEMORIES, is_memory)}
        self._sources = {}
        for row in await sources_of_memories(context.read, list(shown.values())):
            self._sources.setdefault((row["session_key"], row["sequence"]), []).append(shown[row["memory_key"]])

    def tells(self, prompt: Prompt, message: MessageRow) -> bool:
        """True if a message says no more than a memory or the summary in the context."""
        text = said_in(message)
        if len(text) > LONGEST:
            return False
        # A memory that rules extracted from a message gives way to the message itself.
        sources = [
            memory
            for memory in self._sources.get((message["session_key"], message["sequence"]), [])
            if memory["method"] != "RULE"
        ]
        lines = self._lines_of(prompt)
        if not (sources or self._told or lines):
            return False
        told = [_plain(memory["content"]) for memory in sources]
        plain = left = _plain(text)
        for part in (*self._told, *lines, *told):
            left = left.replace(part, " ")
        count = sum(word not in STOP_WORDS for word in left.split())
        # A model paraphrases.
        same = sum(word not in STOP_WORDS for part in told for word in part.split())
        return (left != plain and count <= ADDED) or 0 < count <= same + ADDED * (same > 0)

    def _lines_of(self, prompt: Prompt) -> list[str]:
        """The sentences of the summary in the context."""
        if self._lines is None:
            self._lines = _lines(prompt.nodes(SUMMARY, is_memory))
        return self._lines

    def forget_said(self, prompt: Prompt) -> None:
        """Removes memories, and the extractive summary, that repeat messages in the context."""
        messages = [*prompt.messages, *prompt.quoted]
        there = {
            (message["session_key"], message["sequence"]) for message in messages if len(said_in(message)) <= LONGEST
        }
        texts = [_plain(said_in(message)[:LONGEST]) for message in messages]
        said_of = {
            memory["key"]
            for place, own in self._sources.items()
            if place in there
            for memory in own
            if _is_formed(memory)
        }
        for memory in prompt.nodes(MEMORIES, is_memory):
            if memory["key"] in said_of or any(_plain(memory["content"]) in text for text in texts):
                prompt.remove(memory)
        for summary in prompt.nodes(SUMMARY, is_memory):
            lines = _lines([summary]) if summary["method"] == "EXTRACTIVE" else []
            if lines and all(any(line in text for text in texts) for line in lines):
                prompt.remove(summary)


def _is_formed(memory: MemoryRow) -> bool:
    """True if a memory says what its sources say: it was neither declared nor corrected by the application."""
    return memory["method"] != "DECLARED" and memory["corrected_at"] is None


def _rating(memory: MemoryRow) -> float:
    return NEUTRAL if memory["rating"] is None else memory["rating"]


def _plain(text: str) -> str:
    """The words of a text between spaces."""
    return f" {' '.join(words(text))} "


def _lines(summaries: Iterable[MemoryRow]) -> list[str]:
    """The sentences of extractive summaries, without speakers and dates."""
    return [
        _plain(sentence)
        for summary in summaries
        if summary["method"] == "EXTRACTIVE"
        for line in summary["content"].split("\n")
        for sentence in [sentence_in(line)]
        if sentence
    ]


async def knowledge_of(
    context: OperationContext, knowing: Knowing, found: Sequence[SearchedRow], budget: int, filter: Filter
) -> Knowledge:
    """The memories for a context with a budget of tokens that pass a filter, given the search results."""
    known: list[MemoryRow] = []
    longest = int(budget * MOST_OF_ONE) * _CHARACTERS
    with context.allowance.passing():
        for owner in knowing.owners:
            known += await known_memories(
                context.read,
                context.scope,
                owner=owner,
                given=filter.given,
                values=filter.values,
                longest=longest,
                limit=MOST_KNOWN,
            )
    if len(knowing.owners) > 1:
        known.sort(key=lambda memory: (_rating(memory), memory["created_at"]), reverse=True)
    matching = [node for node in found if is_memory(node)]
    return Knowledge(knowing, known, matching, context.clock.now())
