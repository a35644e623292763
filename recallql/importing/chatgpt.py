"""ChatGPT's `conversations.json`, from the archive of "Export data".

A list of conversations, each with a `mapping` of nodes that form a tree. The way from `current_node` up to the root is
the conversation as it was shown last; edits and new answers begin other branches. OpenAI publishes no schema; this
follows exports of 2023 to 2026. The archive names no user.
"""

from collections.abc import Iterator
from typing import Any

from models.values import is_list, is_object
from recallql.importing.reading import json_values
from recallql.importing.source import Line, Object, Source, joined

_CONVERSATION = frozenset(
    (
        *("id", "conversation_id", "title", "create_time", "update_time", "mapping", "current_node", "gizmo_id"),
        *("default_model_slug", "gizmo_type"),
    )
)
_MESSAGE = frozenset(
    (
        *("id", "author", "create_time", "update_time", "content", "metadata", "recipient"),
        # How far the answer came, which is not a part of what was said.
        *("status", "end_turn", "weight", "channel"),
    )
)
_ROLES = {"user": "USER", "assistant": "ASSISTANT", "system": "SYSTEM", "tool": "TOOL", "developer": "DEVELOPER"}
_INSTRUCTIONS = ("user_editable_context", "model_editable_context")
"""Types of content that tell the model about the user: they are no turn of the user's, whatever their role."""


def translate(source: Source) -> Iterator[Line]:
    with source.opened() as file:
        for item in json_values(file):
            conversation = source.object_in(source.at(item), "a conversation")
            source.expect(conversation, "mapping")
            yield from _conversation(source, conversation)
    yield from source.missing_people()


def _conversation(source: Source, conversation: dict[str, Any]) -> Iterator[Line]:
    own = conversation.get("conversation_id") or source.text_in(conversation, "id")
    source.place = f"conversation {own}"
    source.leave_fields("conversation", conversation, _CONVERSATION)
    nodes: dict[str, Object] = {
        id: source.object_in(node, f"node {id}")
        for id, node in source.object_in(conversation["mapping"], "`mapping`").items()
    }
    leaves = _leaves(conversation, nodes)
    taken: set[str] = set()
    for leaf in leaves if source.all_branches else leaves[:1]:
        branch = _branch(source, nodes, leaf)
        # A branch whose last nodes say nothing is a part of another one.
        if leaf is leaves[0] or any(_says_something(nodes[id]) for id in branch if id not in taken):
            session = own if leaf is leaves[0] else f"{own}:{leaf}"
            yield _session(source, conversation, own, session)
            yield from _messages(source, conversation, session, [nodes[id] for id in branch], taken)
        taken.update(branch)
    if others := sum(_says_something(nodes[id]) for id in nodes.keys() - taken):
        source.leave("messages of other branches (--branches all imports them)", others)


def _leaves(conversation: dict[str, Any], nodes: dict[str, Object]) -> list[str]:
    """The last node of each branch, that of the branch that was shown last first."""
    parents = {node.get("parent") for node in nodes.values()}
    ends = [id for id in nodes if id not in parents]
    current = conversation.get("current_node")
    if current not in nodes:
        current = max(ends, key=lambda id: _time(nodes[id]) or 0, default=None)
    return [] if current is None else [current, *(id for id in ends if id != current)]


def _branch(source: Source, nodes: dict[str, Object], leaf: str) -> list[str]:
    """The ids of the nodes from the root to a leaf."""
    way: dict[str, None] = {}
    id: Any = leaf
    while id is not None and id in nodes:
        if id in way:
            raise source.wrong(f"node {id} is its own ancestor.")
        way[id] = None
        id = nodes[id].get("parent")
    return list(reversed(way))


def _time(node: Object) -> float | None:
    message: Object = node.get("message") or {}
    time = message.get("create_time")
    return time if isinstance(time, int | float) and time > 0 else None


def _session(source: Source, conversation: dict[str, Any], own: str, session: str) -> Line:
    model, agent = conversation.get("default_model_slug"), conversation.get("gizmo_id")
    return {
        "type": "session",
        "sessionId": session,
        "userId": source.owner(),
        "agentId": agent and source.name("agent", agent),
        "title": conversation.get("title"),
        "metadata": ({"model": model} if model else {}) | ({"branchOf": own} if session != own else {}) or None,
        "createdAt": conversation.get("create_time"),
        "updatedAt": conversation.get("update_time"),
    }


def _messages(
    source: Source, conversation: dict[str, Any], session: str, nodes: list[Object], taken: set[str]
) -> Iterator[Line]:
    """The messages of a branch; `taken` are nodes that another branch has, too, and that form no memories again."""
    time: Any = conversation.get("create_time") or 0
    calls: set[str] = set()
    for node in nodes:
        if not _says_something(node):
            continue
        message = source.object_in(node["message"], "`message`")
        # No turn comes before the one that it answers, whatever their clocks said.
        time = max(time, _time(node) or time)
        yield _message(source, session, node, message, time, calls, again=node.get("id") in taken)


def _message(
    source: Source, session: str, node: Object, message: dict[str, Any], time: float, calls: set[str], *, again: bool
) -> Line:
    source.leave_fields("message", message, _MESSAGE)
    id = message.get("id") or source.text_in(node, "id")
    author = source.object_in(message.get("author") or {}, "`author`")
    role = _ROLES.get(author.get("role", ""))
    if role is None:
        raise source.wrong(f"the message {id} has the role {author.get('role')!r}; known are {', '.join(_ROLES)}.")
    content = source.object_in(message["content"], "`content`")
    kind = content.get("content_type")
    if kind in _INSTRUCTIONS:
        role = "SYSTEM"
    said, parts = _content(source, content)
    tool_calls, answered = None, None
    recipient = message.get("recipient")
    if role == "ASSISTANT" and recipient not in (None, "all"):
        tool_calls = [{"id": id, "type": "function", "function": {"name": recipient, "arguments": said or ""}}]
        calls.add(node["id"])
        said = None
    elif role == "TOOL" and node.get("parent") in calls:
        answered = node["parent"]
    return source.message(
        session,
        role,
        messageId=id,
        name=author.get("name"),
        content=said,
        parts=parts,
        toolCalls=tool_calls,
        toolCallId=answered,
        metadata=message.get("metadata"),
        createdAt=time or None,
        formMemories=False if again or kind in _INSTRUCTIONS else None,
    )


def _says_something(node: Object) -> bool:
    """False for the root, and for the empty messages that begin a conversation."""
    message: Object = node.get("message") or {}
    content = message.get("content")
    if not is_object(content):
        return False
    rest = (content[name] for name in content if name not in ("content_type", "language", "response_format_name"))
    return any(any(value) if is_list(value) else value for value in rest)


def _content(source: Source, content: dict[str, Any]) -> tuple[str | None, Any]:
    """The text of a content, and its parts if it has more than text."""
    kind = content.get("content_type")
    match kind:
        case "text" | "multimodal_text":
            parts: list[Any] = content.get("parts") or []
            texts = [part for part in parts if isinstance(part, str)]
            if len(texts) == len(parts):
                return joined(texts), None
            return joined(texts), [_part(source, part) for part in parts if part]
        case "thoughts" | "reasoning_recap":
            thoughts: list[Any] = content.get("thoughts") or [{"content": content.get("content")}]
            return None, [
                {"type": "reasoning", "summary": thought.get("summary"), "text": thought.get("content")}
                for thought in thoughts
            ]
        case "user_editable_context" | "model_editable_context":
            names = ("user_profile", "user_instructions", "model_set_context", "repository")
            return joined([text for name in names if isinstance(text := content.get(name), str)]), None
        case _:
            # Code, and what tools return: code_execution_output, tether_quote, tether_browsing_display, system_error…
            text = joined([text for name in ("title", "text", "result") if isinstance(text := content.get(name), str)])
            return text, None if text else [{**content, "type": kind}]


def _part(source: Source, part: Any) -> Any:
    """A part as `docs/messages.md` has them. The archive has its files beside the conversations."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    block = source.object_in(part, "a part")
    kind = block.get("content_type") or "file"
    if kind == "audio_transcription":
        return {"type": "audio", "transcript": block.get("text")}
    source.leave(f"files of {kind}")
    medium = next((name for name in ("image", "audio", "video") if name in kind), "file")
    return {"type": medium, **block}
