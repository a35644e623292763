"""The sources of memories: the messages and documents that they rest on."""

from collections.abc import Sequence
from typing import Any

from models.documents import documents_by_key
from models.keys import session_key
from models.memories import SOURCES_OF_MEMORY
from models.messages import messages_by_message_id, messages_by_sequence
from models.rows import DocumentRow, MemoryRow, MessageRow
from models.sessions import sessions_by_key
from models.store import Transaction
from resolvers.connections import Page, Paging, connect
from resolvers.errors import BadInput, Fault, refuse
from resolvers.ids import parse_id
from resolvers.inputs import Values, faults_of, key_rule
from resolvers.memory_rows import Owner, Source
from resolvers.nodes import find_node
from resolvers.operation_context import OperationContext

LARGEST_LIST = 100


async def sources_of(context: OperationContext, rows: Sequence[MemoryRow], paging: Paging) -> list[Page | BadInput]:
    """Messages and documents, in the order in which the sources were given."""
    keys = [row["key"] for row in rows]
    pages = await connect(context, SOURCES_OF_MEMORY, paging, keys, order="position", descending=False)
    named = [source for page in pages if isinstance(page, Page) for source in page.rows]
    places = list({(s["session_key"], s["sequence"]) for s in named if s["session_key"] is not None})
    keys = list({s["document_key"] for s in named if s["document_key"] is not None})
    nodes: dict[Any, MessageRow | DocumentRow | None] = {}
    if places:
        nodes |= zip(places, await messages_by_sequence(context.read, context.scope, places), strict=True)
    if keys:
        nodes |= zip(keys, await documents_by_key(context.read, context.scope, keys), strict=True)
    for page in pages:
        if isinstance(page, Page):
            found = [(s, nodes[s["document_key"] or (s["session_key"], s["sequence"])]) for s in page.rows]
            # One may have been deleted between the two statements.
            page.rows = [source for source, node in found if node is not None]
            page.nodes = [node for _, node in found if node is not None]
    return pages


def source_faults(values: Values) -> list[Fault]:
    """The faults of the sources that a new memory names, as far as the input shows them."""
    ids, places = values.get("sources", ()), values.get("source_messages", ())
    faults: list[Fault] = []
    if len(ids) + len(places) > LARGEST_LIST:
        message = f"A memory has at most {LARGEST_LIST} sources; these are {len(ids) + len(places)}."
        faults.append(Fault("TOO_LARGE", message, ("sourceMessages" if places else "sources",)))
    for index, place in enumerate(places):
        path = ("sourceMessages", str(index))
        faults += faults_of(place, {"session_id": key_rule, "message_id": key_rule}, path=path)
        if (place.get("message_id") is None) is (place.get("sequence") is None):
            faults.append(Fault("INVALID", "A message has a `messageId` or a `sequence`: give one of them.", path))
    return faults


async def named_sources(write: Transaction, context: OperationContext, owner: Owner, values: Values) -> list[Source]:
    """The sources that a new memory names, each once: by their global ids, and messages by the application's own."""
    by_id = await _sources_by_id(write, context, owner, values.get("sources", ()))
    return list(dict.fromkeys([*by_id, *await placed_sources(write, context, owner, values)]))


async def _sources_by_id(
    write: Transaction, context: OperationContext, owner: Owner, ids: Sequence[str]
) -> list[Source]:
    sources: list[Source] = []
    for index, id in enumerate(ids):
        path = ("sources", str(index))
        node = parse_id(id)
        if node is not None and node.noun not in ("Message", "Document"):
            raise refuse("INVALID", "A source is a message or a document; this id names something else.", *path)
        message = await find_node(write, context.scope, id, "Message")
        document = await find_node(write, context.scope, id, "Document")
        if node is None or (message is None and document is None):
            raise refuse("NOT_FOUND", "There is no message or document with this id.", *path)
        about = document if message is None else (await sessions_by_key(write, context.scope, [node.key]))[0]
        if about is not None and not owner.may_rest_on(about):
            raise refuse("INVALID", "The source is another user's.", *path)
        sources.append(Source(document_key=node.key) if message is None else Source(node.key, node.sequence))
    return sources


async def placed_sources(write: Transaction, context: OperationContext, owner: Owner, values: Values) -> list[Source]:
    """The messages that `source_messages` names, each by its session and its own id or its sequence."""
    places = values.get("source_messages", ())
    if not places:
        return []
    keys = [session_key(context.scope.project, place["session_id"]) for place in places]
    wanted = list(dict.fromkeys(keys))
    sessions = dict(zip(wanted, await sessions_by_key(write, context.scope, wanted), strict=True))
    located = [(key, place.get("sequence") or 0) for key, place in zip(keys, places, strict=True)]
    found = await messages_by_sequence(write, context.scope, located)
    by_own_id: dict[tuple[bytes, str | None], MessageRow] = {}
    for key, session in sessions.items():
        own = [place.get("message_id") for of, place in zip(keys, places, strict=True) if of == key]
        if session is not None and (ids := [id for id in own if id is not None]):
            by_own_id |= {(key, id): row for id, row in (await messages_by_message_id(write, session, ids)).items()}
    sources: list[Source] = []
    for index, (place, key, by_sequence) in enumerate(zip(places, keys, found, strict=True)):
        path, session = ("sourceMessages", str(index)), sessions[key]
        message = by_sequence or by_own_id.get((key, place.get("message_id")))
        if session is None or message is None:
            raise refuse("NOT_FOUND", "There is no such message.", *path)
        if not owner.may_rest_on(session):
            raise refuse("INVALID", "The source is another user's.", *path)
        sources.append(Source(key, message["sequence"]))
    return sources
