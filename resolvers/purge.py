"""The purge: permanently removes soft-deleted objects."""

from collections import Counter

from models.erasure import purge
from models.store import Transaction
from resolvers.inputs import Values
from resolvers.operation_context import OperationContext


async def purge_deleted(context: OperationContext, values: Values) -> dict[str, int]:
    """Removes objects deleted before a time; returns the numbers of sessions, messages and memories."""

    async def operation(write: Transaction) -> dict[str, int]:
        return await purge(write, context.scope, before=values["deleted_before"], now=context.clock.now())

    total = Counter[str]({"sessions": 0, "messages": 0, "memories": 0})
    while True:
        counted = await context.write(operation)
        for name, count in counted.items():
            total[name] += count
        if not counted["steps"]:
            if total.pop("steps"):
                await context.database.clearing.wait_briefly()
            return dict(total)
