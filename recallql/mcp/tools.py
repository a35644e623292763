"""The tools: what the language model is told of each, and how it is carried out."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from recallql.mcp import arguments, documents, results, texts
from recallql.mcp.arguments import Arguments
from recallql.mcp.faults import Execute, Fault, read, write


class Outcome(NamedTuple):
    """The result of a tool for programs, and as a text."""

    structured: Any
    text: str


@dataclass(frozen=True)
class Tool:
    """A tool. `read_only`, `destructive` and `idempotent` are MCP's hints for clients that ask their user first."""

    title: str
    description: str
    arguments: type[Arguments]
    result: type[Any]
    run: Callable[[Execute, Any], Awaitable[Outcome]]
    read_only: bool = False
    destructive: bool = False
    idempotent: bool = False


async def _add_messages(execute: Execute, given: arguments.AddMessages) -> Outcome:
    messages = [message.model_dump(exclude_none=True) for message in given.messages]
    payload = await write(
        execute, documents.ADD_MESSAGES, sessionId=given.session_id, userId=given.user_id, messages=messages
    )
    added: results.Added = {"session_id": payload["session"]["sessionId"], "messages": payload["messages"]}
    return Outcome(added, texts.of_added(added))


async def _remember(execute: Execute, given: arguments.Remember) -> Outcome:
    try:
        payload = await write(execute, documents.REMEMBER, userId=given.user_id, kind=given.kind, content=given.content)
    except Fault as fault:
        if given.user_id is None and fault.message.startswith("A memory needs an owner"):
            raise Fault("INVALID", "Give `user_id`: you are connected with an API key, which is no user's.") from fault
        raise
    memory = payload["memory"]
    remembered: results.Remembered = {"id": memory["id"], "kind": memory["kind"], "created_at": memory["createdAt"]}
    return Outcome(remembered, texts.of_remembered(remembered))


async def _recall(execute: Execute, given: arguments.Recall) -> Outcome:
    data = await read(
        execute,
        documents.RECALL,
        query=given.query,
        userId=given.user_id,
        sessionId=given.session_id,
        first=given.limit,
    )
    search = data["search"]
    recalled: results.Recalled = {
        "results": [results.found(edge) for edge in search["edges"]],
        "more": search["pageInfo"]["hasNextPage"],
    }
    return Outcome(recalled, texts.of_recalled(recalled))


async def _context(execute: Execute, given: arguments.PackContext) -> Outcome:
    of_session = given.session_id is not None
    of_user = given.user_id is not None and not of_session
    # A variable of a field that is left out must be a text nevertheless.
    named = {"sessionId": given.session_id, "userId": given.user_id}
    data = await read(
        execute,
        documents.CONTEXT,
        query=given.query,
        maxTokens=given.max_tokens,
        ofSession=of_session,
        ofUser=of_user,
        ofViewer=not (of_session or of_user),
        **{name: value for name, value in named.items() if value is not None},
    )
    if of_session:
        owner = data["session"]
        user = owner and owner["user"]
        if owner is not None and given.user_id is not None and (user is None or user["userId"] != given.user_id):
            raise Fault(
                "NOT_FOUND", "This session is not this user's; leave `user_id` out, or name the session's user."
            )
    elif of_user:
        owner = data["user"]
    else:
        owner = data["viewer"]["user"]
        if owner is None:
            raise Fault("INVALID", "Give `session_id` or `user_id`: you are not connected as a user who exists.")
    if owner is None or owner["context"] is None:
        what = "session with this id; `list_sessions` has those there are" if of_session else "user with this id"
        raise Fault("NOT_FOUND", f"There is no {what}.")
    packed = results.packed(owner["context"])
    return Outcome(packed, texts.of_packed(packed))


async def _list_sessions(execute: Execute, given: arguments.ListSessions) -> Outcome:
    of_user = None if given.user_id is None else {"userIds": [given.user_id]}
    data = await read(execute, documents.LIST_SESSIONS, first=given.first, after=given.after, filter=of_user)
    page = data["sessions"]["pageInfo"]
    listed: results.ListedSessions = {
        "sessions": [results.listed_session(node) for node in data["sessions"]["nodes"]],
    }
    if page["hasNextPage"]:
        listed["next"] = page["endCursor"]
    return Outcome(listed, texts.of_sessions(listed))


async def _read_session(execute: Execute, given: arguments.ReadSession) -> Outcome:
    data = await read(execute, documents.READ_SESSION, sessionId=given.session_id, last=given.last, before=given.before)
    if data["session"] is None:
        raise Fault("NOT_FOUND", "There is no session with this id; `list_sessions` has those there are.")
    session = results.read_session(data["session"])
    return Outcome(session, texts.of_session(session))


async def _forget(execute: Execute, given: arguments.Forget) -> Outcome:
    payload = await write(execute, documents.FORGET, id=given.memory_id)
    forgotten: results.Forgotten = {"forgotten_id": payload["deletedMemoryId"]}
    return Outcome(forgotten, texts.of_forgotten(forgotten))


TOOLS: dict[str, Tool] = {
    "add_messages": Tool(
        "Store messages",
        "Stores turns of a conversation, all or none, so that they can be recalled later and memories are formed of "
        "them. Use it after each exchange that may matter later. Connected with a user's own token, only messages of "
        "the role USER are accepted. Returns the session and the number of each message in it.",
        arguments.AddMessages,
        results.Added,
        _add_messages,
    ),
    "remember": Tool(
        "Remember something",
        "Stores one memory about a user for good: a fact, a preference or an event. Use it when the user asks to "
        "remember something, or says something of lasting value. Call `recall` first, to not store it twice. "
        "Returns the memory's id, for `forget`.",
        arguments.Remember,
        results.Remembered,
        _remember,
    ),
    "recall": Tool(
        "Search the memory",
        "Finds memories, past messages and passages of documents that answer a question, best first. Use it before "
        "you answer anything that depends on what was said or is known from before. Returns texts with their "
        "relevance, time, user and session.",
        arguments.Recall,
        results.Recalled,
        _recall,
        read_only=True,
        idempotent=True,
    ),
    "context": Tool(
        "Get the context of a conversation",
        "Packs what is worth knowing into a budget of tokens: the summary, memories, documents and past messages that "
        "match, and of a session its newest messages. Use it once at the start of a conversation, or to continue one. "
        "Give `session_id` for a session, or `user_id` for a user. Returns a text in Markdown, and messages.",
        arguments.PackContext,
        results.Packed,
        _context,
        read_only=True,
        idempotent=True,
    ),
    "list_sessions": Tool(
        "List conversations",
        "Lists past conversations, those used last first. Use it to find the id of a conversation by its title, user "
        "or time. Returns a page of sessions, and `next` if there are more.",
        arguments.ListSessions,
        results.ListedSessions,
        _list_sessions,
        read_only=True,
        idempotent=True,
    ),
    "read_session": Tool(
        "Read a conversation",
        "Reads the newest messages of a past conversation, oldest first, with its summary. Use it when `recall` found "
        "a message of it and you need what was said around it. Returns `earlier` if there are older messages.",
        arguments.ReadSession,
        results.ReadSession,
        _read_session,
        read_only=True,
        idempotent=True,
    ),
    "forget": Tool(
        "Forget a memory",
        "Deletes one memory for good. Use it when the user asks to forget something, or when a memory is wrong: find "
        "its id with `recall`. Messages stay. Returns the id of the deleted memory.",
        arguments.Forget,
        results.Forgotten,
        _forget,
        destructive=True,
        idempotent=True,
    ),
}
