"""The code that users and agents share: both have an id from the application, attributes, and documents."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic
from uuid import uuid4

from models.scope import Scope
from models.store import Reader, Transaction
from models.writing import R, TypedTable
from resolvers.documents import DOCUMENT, DocumentOwner, document_faults, insert_document
from resolvers.errors import Refused, refuse
from resolvers.inputs import Values, camel, check, check_version, created
from resolvers.nouns import Column, Noun, stamped
from resolvers.operation_context import OperationContext
from resolvers.updates import Change, revise


class Participant(Noun, Generic[R]):
    """A noun whose objects have ids from the application: `by_id` finds one, `to_end` one that is about to be removed,
    and `keys` returns the columns of its key.

    `as_owner` returns a row as the keyword argument for the owner of documents.
    """

    def __init__(
        self,
        name: str,
        *columns: Column,
        table: TypedTable[R],
        by_id: Callable[[Reader, Scope, str], Awaitable[R | None]],
        to_end: Callable[[Transaction, Scope, str], Awaitable[R | None]],
        keys: Callable[[str, dict[str, Any]], dict[str, Any]],
        as_owner: Callable[[R], DocumentOwner],
    ) -> None:
        super().__init__(name, *columns)
        self.word = name.lower()
        self.own_id = f"{self.word}_id"
        self._table, self._by_id, self._to_end = table, by_id, to_end
        self._keys, self._as_owner = keys, as_owner

    async def find(self, read: Reader, context: OperationContext, id: str, field: str | None = None) -> R:
        """The existing object that a mutation names in this field of its input; otherwise NOT_FOUND."""
        return self._found(await self._by_id(read, context.scope, id), field)

    async def find_to_end(self, write: Transaction, context: OperationContext, id: str, field: str | None = None) -> R:
        """The same for an object that is about to be removed: nobody else refers to it meanwhile."""
        return self._found(await self._to_end(write, context.scope, id), field)

    def _found(self, row: R | None, field: str | None) -> R:
        if row is None:
            own_id = camel(self.own_id)
            raise refuse("NOT_FOUND", f"There is no {self.word} with this {own_id}.", field or own_id)
        return row

    async def insert(
        self,
        write: Transaction,
        context: OperationContext,
        columns: dict[str, Any],
        documents: Sequence[dict[str, Any]] = (),
    ) -> R:
        """Stores a new object from the columns of `new`, with its documents."""
        project = context.scope.project
        values = stamped(self._table.row, columns, context.clock.now(), project=project, **self._keys(project, columns))
        row = await self._table.insert(write, values)
        for index, document in enumerate(documents):
            await insert_document(write, context, document, self._as_owner(row), "documents", str(index))
        return row

    async def create(self, context: OperationContext, given: Values) -> R:
        values = created(given)
        check(values, self.rules, more=document_faults(values))
        values.setdefault(self.own_id, str(uuid4()))
        columns, documents = self.new(values), documents_in(values)

        async def operation(write: Transaction) -> R:
            if await self._by_id(write, context.scope, values[self.own_id]):
                raise self._already_exists()
            return await self.insert(write, context, columns, documents)

        return await context.write(operation)

    async def update(self, context: OperationContext, values: Values) -> R:
        check(values, self.rules, required=self.required)
        change = self.change(values)

        async def operation(write: Transaction) -> R:
            row = await self.find(write, context, values[self.own_id])
            check_version(row, values)
            return await self._revise(write, context, row, change)

        return await context.write(operation)

    async def upsert(self, context: OperationContext, values: Values) -> tuple[R, bool]:
        """Returns the object, and True if it is new."""
        check(values, self.rules, required=self.required)
        columns, change = self.new_or_change(values)

        async def operation(write: Transaction) -> tuple[R, bool]:
            row = await self._by_id(write, context.scope, values[self.own_id])
            if row is None:
                return await self.insert(write, context, columns), True
            return await self._revise(write, context, row, change), False

        return await context.write(operation)

    def _already_exists(self) -> Refused:
        article, own_id = "An" if self.word[0] in "aeio" else "A", camel(self.own_id)
        message = f"{article} {self.word} with this {own_id} exists; use update{self.name} or upsert{self.name}."
        return refuse("ALREADY_EXISTS", message, own_id)

    async def _revise(self, write: Transaction, context: OperationContext, row: R, change: Change) -> R:
        return await revise(write, self._table, row, change.of(row), context.clock.now())


def documents_in(values: Values) -> list[dict[str, Any]]:
    """The columns of the documents in the input of a new user or agent."""
    return [DOCUMENT.new(created(document)) for document in values.get("documents", ())]
