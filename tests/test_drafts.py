"""Work that needs no database is done before the transaction, not while others wait for it."""

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import pytest

from models.store import opened
from resolvers import drafts, messages, nouns
from resolvers.ids import message_id
from resolvers.messages import add_messages, update_message
from resolvers.operation_context import OperationContext
from resolvers.times import Clock
from tests.places import Place

SAID = [
    {"role": "USER", "content": "I live in Turin.", "message_id": "m1", "metadata": {"n": 1}},
    {"role": "ASSISTANT", "parts": [{"type": "text", "text": "A fine city."}], "message_id": "m2"},
]


class Watch:
    """Notes which work was done, and if a transaction was open meanwhile."""

    def __init__(self) -> None:
        self.is_inside = False
        self.done: list[tuple[str, bool]] = []

    def note(self, work: str) -> None:
        self.done.append((work, self.is_inside))

    def count(self, text: str) -> int:
        self.note("count")
        return len(text)

    def watched(self, operation: Any) -> Any:
        """The operation of a transaction, within which work is noted as such."""

        async def carried_out(write: Any) -> Any:
            self.is_inside = True
            try:
                return await operation(write)
            finally:
                self.is_inside = False

        return carried_out


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def watch(place: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[OperationContext, Watch]]:
    watch = Watch()
    for module, name in product((drafts, messages, nouns), ("claims_in", "json_of", "texts_of")):
        original: Any = getattr(module, name, None)

        def watched(*given: Any, name: str = name, original: Any = original) -> Any:
            watch.note(name)
            return original(*given)

        monkeypatch.setattr(module, name, watched, raising=False)
    async with opened(place.database) as store:
        write = store.write
        # What is done in one statement is left out: it looks at the same drafts.
        monkeypatch.setattr(store, "write", lambda operation, *more, **_: write(watch.watched(operation), *more))
        yield OperationContext(store, Clock(), count_tokens=watch.count), watch


def id_of(row: Any) -> str:
    return message_id(row["session_key"], row["generation"], row["sequence"])


@pytest.mark.anyio
async def test_a_batch_is_made_ready_before_its_transaction(watch: tuple[OperationContext, Watch]) -> None:
    context, seen = watch
    values = {"session_id": "s", "messages": SAID}
    added = await add_messages(context, values)
    again = await add_messages(context, values)
    assert [row["token_count"] for row in added.messages] == [16, 12]
    assert [memory["content"] for memory in added.memories] == ["I live in Turin"]
    assert again.deduplicated == 2
    assert {work for work, _ in seen.done} == {"count", "claims_in", "json_of", "texts_of"}
    assert not any(inside for _, inside in seen.done)


@pytest.mark.anyio
@pytest.mark.parametrize("change", [{"content": "I live in Rome now."}, {"token_count": None}])
async def test_an_edit_is_worked_out_before_its_transaction(
    watch: tuple[OperationContext, Watch], change: dict[str, Any]
) -> None:
    context, seen = watch
    row = (await add_messages(context, {"session_id": "s", "messages": SAID})).messages[0]
    seen.done.clear()
    edited = await update_message(context, {"id": id_of(row), **change})
    assert edited["token_count"] == len(edited["content"])
    assert ("count", False) in seen.done
    assert not any(inside for _, inside in seen.done)


@pytest.mark.anyio
async def test_an_edit_is_worked_out_again_when_the_message_has_changed_meanwhile(
    watch: tuple[OperationContext, Watch],
) -> None:
    context, _ = watch
    row = (await add_messages(context, {"session_id": "s", "messages": SAID})).messages[0]
    parts = [{"type": "text", "text": "Really."}]
    edits = [{"content": "I live in Rome now."}, {"parts": parts}]
    await asyncio.gather(*(update_message(context, {"id": id_of(row), **edit}) for edit in edits))
    last = await update_message(context, {"id": id_of(row), "metadata": {"seen": True}})
    assert (last["version"], last["content"], last["parts_text"]) == (4, "I live in Rome now.", "Really.")
    assert last["token_count"] == len("I live in Rome now.") + len("Really.")
