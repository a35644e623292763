"""The purge: what was deleted softly goes for good."""

from models.database import Transaction
from models.erasure import purge
from resolvers.context import Context
from resolvers.inputs import Values


async def purge_deleted(context: Context, values: Values) -> dict[str, int]:
    """How many sessions, messages and memories were removed that had been deleted before the given time."""

    async def operation(write: Transaction) -> dict[str, int]:
        return await purge(write, context.scope, values["deleted_before"])

    return await context.write(operation)
