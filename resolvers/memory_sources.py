"""The sources of memories: the messages and documents that they rest on."""

from collections.abc import Sequence
from typing import Any

from models.documents import documents_by_key
from models.keys import session_key
from models.memories import SOURCES_OF_MEMORY
from models.messages import Place, messages_by_sequence, sequences_at
from models.rows import DocumentRow, MemoryRow, MessageRow
from models.sessions import sessions_by_key
from models.store import Transaction
from resolvers.connections import Page, Paging, connect
from resolvers.errors import BadInput, Fault, Refused, refuse
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
            raise _anothers(owner, path)
        sources.append(Source(document_key=node.key) if message is None else Source(node.key, node.sequence))
    return sources


async def placed_sources(write: Transaction, context: OperationContext, owner: Owner, values: Values) -> list[Source]:
    """The messages that `source_messages` names, each by its session and its own id or its sequence."""
    named = values.get("source_messages", ())
    if not named:
        return []
    places = [
        Place(session_key(context.scope.project, each["session_id"]), each.get("sequence"), each.get("message_id"))
        for each in named
    ]
    wanted = list(dict.fromkeys(place.session_key for place in places))
    sessions = dict(zip(wanted, await sessions_by_key(write, context.scope, wanted), strict=True))
    sources: list[Source] = []
    for index, (place, sequence) in enumerate(
        zip(places, await sequences_at(write, context.scope, places), strict=True)
    ):
        path, session = ("sourceMessages", str(index)), sessions[place.session_key]
        if session is None or sequence is None:
            raise refuse("NOT_FOUND", "There is no such message.", *path)
        if not owner.may_rest_on(session):
            raise _anothers(owner, path)
        sources.append(Source(place.session_key, sequence))
    return sources


def _anothers(owner: Owner, path: tuple[str, ...]) -> Refused:
    """The refusal of a source that does not belong to the memory's owner."""
    if owner.agent is None:
        return refuse("INVALID", "The source is another user's.", *path)
    message = "The source is not this agent's: name its own documents, or messages of its sessions."
    return refuse("INVALID", message, *path)
