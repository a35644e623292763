"""Letta's agent files (`.af`), of letta 0.7 to 0.16: one JSON object with `agents`, `blocks`, `files` and more
(`letta/schemas/agent_file.py`), or with one agent, its `core_memory` and `messages`, as the first version had it.

An agent becomes an agent with one session. The ids in a file (`agent-0`, `message-3`) count its objects, and are others
in the next file, so an agent's id is its name, and its messages are known by their times and contents. Memory blocks
are facts of the agent; those labelled "human" are the user's whom `--user` names. A file has the messages in context,
and no archival memory.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from models.values import is_object
from recallql.importing.openai import content_of
from recallql.importing.reading import json_values
from recallql.importing.source import Line, Object, Source, latest, moment

_AGENT = frozenset(
    (
        *("id", "name", "description", "system", "metadata", "metadata_", "messages", "block_ids", "core_memory"),
        *("agent_type", "llm_config", "created_at", "updated_at", "version", "in_context_message_ids"),
        *("in_context_message_indices", "message_ids", "timezone"),
    )
)
_MESSAGE = frozenset(
    (
        *("id", "role", "content", "text", "name", "tool_calls", "tool_call_id", "created_at", "updated_at"),
        *("agent_id", "model", "type", "otid"),
    )
)
_BLOCK = frozenset(
    ("id", "label", "value", "description", "limit", "metadata", "metadata_", "is_template", "read_only")
)
_ROLES = {name: name.upper() for name in ("user", "assistant", "system", "tool", "function", "developer")}
_in_file = re.compile(r"[a-z_]+-\d+")


def translate(source: Source) -> Iterator[Line]:
    whole: dict[str, Any] = {}
    agents_of_block: dict[str, list[str]] = {}
    has_agents = False
    with source.opened() as file:
        for item in json_values(file):
            source.at(item)
            match item.key:
                case "agents":
                    has_agents = True
                    agent = source.object_in(item.value)
                    source.expect(agent, "messages", "block_ids", "system")
                    id = _id_of(source, agent)
                    for block in agent.get("block_ids") or ():
                        agents_of_block.setdefault(block, []).append(id)
                    yield from _agent(source, id, agent)
                case "blocks" | "files":
                    whole.setdefault(item.key, []).append(source.object_in(item.value))
                case "":
                    source.expect(source.object_in(item.value))
                case "tools" | "groups" | "sources" | "mcp_servers" | "skills":
                    source.leave(item.key)
                case "peers" | "docs" | "results" | "threads":
                    source.leave_item(item)
                case _ if item.number:
                    whole.setdefault(item.key, []).append(item.value)
                case _:
                    whole[item.key] = item.value
    if "core_memory" in whole or "system" in whole:
        source.place = "the agent"
        id = _id_of(source, whole)
        yield from _agent(source, id, whole)
        for block in source.objects_in(whole.get("core_memory"), "core_memory"):
            yield from _block(source, block, id)
    elif not has_agents:
        source.place = ""
        source.expect(whole, "agents", "core_memory")
    for block in whole.get("blocks", ()):
        for id in agents_of_block.get(block.get("id"), ()):
            yield from _block(source, block, id)
    if "files" in whole:
        source.leave("files", len(whole["files"]))
    yield from source.missing_people()


def _id_of(source: Source, agent: dict[str, Any]) -> str:
    id = agent.get("id")
    return id if isinstance(id, str) and not _in_file.fullmatch(id) else source.text_in(agent, "name")


def _agent(source: Source, id: str, agent: dict[str, Any]) -> Iterator[Line]:
    source.leave_fields("agent", agent, _AGENT)
    model = agent.get("llm_config")
    yield source.person(
        "agent",
        id,
        name=agent.get("name"),
        about=agent.get("description"),
        instructions=agent.get("system"),
        model=(model.get("handle") or model.get("model")) if is_object(model) else None,
        metadata=source.fitting(agent.get("metadata") or agent.get("metadata_"), "agent"),
        createdAt=moment(agent.get("created_at")),
    )
    messages = source.objects_in(agent.get("messages"), "messages")
    if not messages:
        return
    yield {
        "type": "session",
        "sessionId": id,
        "agentId": id,
        "userId": source.owner(),
        "createdAt": moment(messages[0].get("created_at")),
        "lastActivityAt": latest(moment(message.get("created_at")) for message in messages),
    }
    for message in messages:
        yield from _message(source, id, message)


def _message(source: Source, session: str, message: dict[str, Any]) -> Iterator[Line]:
    source.leave_fields("message", message, _MESSAGE)
    role = _ROLES.get(message.get("role") or "")
    if role is None:
        source.leave(f"messages of role {message.get('role')}")
        return
    own = message.get("id")
    text, parts = content_of(message.get("content") if message.get("content") is not None else message.get("text"))
    if role == "USER":
        role, text = _said(text)
    calls = message.get("tool_calls") or None
    if role == "ASSISTANT" and not text:
        text = _sent(calls)
    yield source.message(
        session,
        role,
        messageId=own if isinstance(own, str) and not _in_file.fullmatch(own) else None,
        name=message.get("name"),
        content=text if text is not None or parts or calls else "",
        parts=parts,
        toolCalls=calls,
        toolCallId=message.get("tool_call_id"),
        createdAt=moment(message.get("created_at")),
        formMemories=False,
    )


def _said(text: str | None) -> tuple[str, str | None]:
    """The words of a user. Letta packs them into JSON, as it does with events of its own."""
    try:
        packed = json.loads(text or "")
    except ValueError:
        return "USER", text
    if not is_object(packed) or not isinstance(packed.get("type"), str):
        return "USER", text
    said = packed.get("message")
    is_user = packed["type"] == "user_message"
    return ("USER" if is_user else "SYSTEM"), said if is_user and isinstance(said, str) else text


def _sent(calls: Any) -> str | None:
    """The words of an agent. Letta's first agents speak by calling the tool `send_message`."""
    for call in calls or ():
        function: Object = call.get("function") or {}
        if function.get("name") == "send_message":
            try:
                return json.loads(function.get("arguments") or "").get("message")
            except ValueError:
                return None
    return None


def _block(source: Source, block: dict[str, Any], agent: str) -> Iterator[Line]:
    source.leave_fields("block", block, _BLOCK)
    value, label = block.get("value"), block.get("label")
    if not value or not value.strip():
        return
    user = source.owner() if label == "human" else None
    beside = {name: block[name] for name in ("label", "description") if block.get(name)}
    yield {
        "type": "memory",
        **({"userId": user} if user is not None else {"agentId": agent}),
        "memoryId": f"{agent}/{label}" if user is not None else label,
        "kind": "FACT",
        "content": value,
        "metadata": beside | (block.get("metadata") or block.get("metadata_") or {}) or None,
    }
