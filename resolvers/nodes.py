"""Nodes: any object by its global id."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, overload

from models.agents import agents_by_key
from models.documents import documents_by_key
from models.memories import memories_by_key
from models.messages import messages_by_sequence
from models.rows import DocumentRow, MemoryRow, MessageRow, NounRow
from models.scope import Scope
from models.sessions import sessions_by_key
from models.store import Reader
from models.users import users_by_key
from resolvers.errors import BadInput
from resolvers.ids import NodeId, parse_id
from resolvers.operation_context import OperationContext

LARGEST_LIST = 100

BY_KEY: dict[str, Callable[[Reader, Scope, list[bytes]], Awaitable[Sequence[NounRow | None]]]] = {
    "User": users_by_key,
    "Session": sessions_by_key,
    "Memory": memories_by_key,
    "Document": documents_by_key,
    "Agent": agents_by_key,
}


async def nodes(context: OperationContext, ids: Sequence[str]) -> list[NounRow | None]:
    """The object of each id, or None; one statement per kind among them."""
    if len(ids) > LARGEST_LIST:
        raise BadInput(f"`ids` has {len(ids)} items; at most {LARGEST_LIST} are allowed.")
    parsed = [parse_id(id) for id in ids]
    found: dict[NodeId, NounRow | None] = {}
    for noun in {node.noun for node in parsed if node is not None}:
        wanted = list(dict.fromkeys(node for node in parsed if node is not None and node.noun == noun))
        rows = await fetch_nodes(context.read, context.scope, noun, wanted)
        found |= zip(wanted, rows, strict=True)
    return [None if node is None else found[node] for node in parsed]


@overload
async def find_node(read: Reader, scope: Scope, id: str, noun: Literal["Message"]) -> MessageRow | None: ...
@overload
async def find_node(read: Reader, scope: Scope, id: str, noun: Literal["Memory"]) -> MemoryRow | None: ...
@overload
async def find_node(read: Reader, scope: Scope, id: str, noun: Literal["Document"]) -> DocumentRow | None: ...
async def find_node(read: Reader, scope: Scope, id: str, noun: str) -> Any:
    """Parses an id of this kind and looks its object up; None for an id of another kind or none."""
    node = parse_id(id)
    return None if node is None or node.noun != noun else (await fetch_nodes(read, scope, noun, [node]))[0]


async def fetch_nodes(read: Reader, scope: Scope, noun: str, wanted: list[NodeId]) -> list[NounRow | None]:
    """The object of each id of one noun, or None."""
    if noun == "Message":
        rows = await messages_by_sequence(read, scope, [(node.key, node.sequence) for node in wanted])
    else:
        rows = await BY_KEY[noun](read, scope, [node.key for node in wanted])
    return [row if row is not None and node.names(row) else None for node, row in zip(wanted, rows, strict=True)]
