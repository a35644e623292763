"""Honcho's workspaces, peers, sessions, messages and conclusions, as the API v3 returns them (`src/schemas` of
plastic-labs/honcho 3.x, honcho-ai 2.x; those of v2 have the same fields).

A file is one JSON object with the lists `workspaces`, `peers`, `sessions`, `messages` and `conclusions`; a session may
have its `messages`, `peers` and summaries, and a peer its `peer_card`. A workspace is a project. A peer is a user, or
an agent if Honcho does not observe it (`observe_me` is false) or if its id is a word such as "assistant". A session is
the user's who speaks in it first; others speak under their name. Messages form no memories, since the conclusions come
along.
"""

from collections.abc import Iterator
from typing import Any

from models.values import is_list, is_object
from recallql.importing.source import Line, Object, Source, latest, moment

_WORDS = frozenset(("assistant", "ai", "agent", "bot", "model", "system"))
_PEER = frozenset(("id", "workspace_id", "metadata", "created_at", "configuration", "peer_card", "card"))
_SESSION = frozenset(
    (
        *("id", "workspace_id", "metadata", "created_at", "is_active", "configuration", "messages", "peers"),
        *("summaries", "short_summary", "long_summary"),
    )
)
_MESSAGE = frozenset(
    ("id", "content", "peer_id", "session_id", "metadata", "created_at", "workspace_id", "token_count")
)
_CONCLUSION = frozenset(("id", "content", "observer_id", "observed_id", "session_id", "created_at", "workspace_id"))

Key = tuple[str | None, str]
"""A workspace, and an id in it."""


class _Sessions:
    """The sessions of a file, whose users are known once all messages were read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lines: dict[Key, Line] = {}
        self.agents: set[Key] = set()

    def of(self, key: Key) -> Line:
        return self._lines.setdefault(key, {"type": "session", "project": key[0], "sessionId": key[1]})

    def is_agent(self, workspace: str | None, peer: str) -> bool:
        return (workspace, peer) in self.agents or peer.lower() in _WORDS

    def spoken(self, key: Key, peer: str, time: Any) -> str:
        """Notes who speaks in a session, and when; returns the role."""
        session = self.of(key)
        session["lastActivityAt"] = latest((session.get("lastActivityAt"), time))
        kind = "agent" if self.is_agent(key[0], peer) else "user"
        if f"{kind}Id" not in session:
            named = (kind == "user" and self._source.user) or peer
            session[f"{kind}Id"] = self._source.name(kind, named, key[0])
        return "USER" if kind == "user" else "ASSISTANT"

    def lines(self) -> Iterator[Line]:
        yield from self._lines.values()


def translate(source: Source) -> Iterator[Line]:
    sessions = _Sessions(source)
    for item, value in source.listed():
        match item.key:
            case "workspaces":
                source.leave_fields("workspace", value, frozenset(("id", "created_at")))
            case "peers":
                yield from _peer(source, value, sessions)
            case "sessions":
                yield from _session(source, value, sessions)
            case "messages":
                yield _message(source, value, sessions, value.get("workspace_id"))
            case "conclusions" | "observations":
                yield _conclusion(source, value, sessions)
            case "":
                source.expect(value)
            case _:
                source.leave_item(item)
    yield from sessions.lines()
    yield from source.missing_people()


def _peer(source: Source, peer: dict[str, Any], sessions: _Sessions) -> Iterator[Line]:
    source.leave_fields("peer", peer, _PEER)
    id, workspace = source.text_in(peer, "id"), peer.get("workspace_id")
    configuration = source.object_in(peer.get("configuration") or {}, "`configuration`")
    if configuration.get("observe_me") is False:
        sessions.agents.add((workspace, id))
    source.leave_fields("peer.configuration", configuration, frozenset(("observe_me",)))
    kind = "agent" if sessions.is_agent(workspace, id) else "user"
    metadata, created = source.fitting(peer.get("metadata"), "peer"), moment(peer.get("created_at"))
    yield source.person(kind, id, workspace, metadata=metadata, createdAt=created)
    card = peer.get("peer_card") or peer.get("card")
    if card:
        content = "\n".join(card) if is_list(card) else card
        yield {"type": "memory", "project": workspace, f"{kind}Id": id, "kind": "SUMMARY", "content": content}


def _session(source: Source, session: dict[str, Any], sessions: _Sessions) -> Iterator[Line]:
    source.leave_fields("session", session, _SESSION)
    source.leave_fields("session.configuration", session.get("configuration") or {}, frozenset())
    key = (session.get("workspace_id"), source.text_in(session, "id"))
    sessions.of(key).update(
        metadata=source.fitting(session.get("metadata"), "session"), createdAt=moment(session.get("created_at"))
    )
    peers = session.get("peers")
    if is_object(peers):
        silent = [id for id, peer in peers.items() if is_object(peer) and peer.get("observe_me") is False]
        sessions.agents.update((key[0], id) for id in silent)
    for message in source.objects_in(session.get("messages"), "messages"):
        yield _message(source, {**message, "session_id": key[1]}, sessions, key[0])
    summaries = source.object_in(session.get("summaries") or session, "`summaries`")
    longest = summaries.get("long_summary") or summaries.get("short_summary")
    if longest is not None:
        if summaries.get("long_summary") and summaries.get("short_summary"):
            source.leave("session.short_summary (there is a long one)")
        summary = {"content": longest} if isinstance(longest, str) else source.object_in(longest)
        yield {
            "type": "memory",
            "project": key[0],
            "sessionId": key[1],
            "kind": "SUMMARY",
            "content": source.text_in(summary, "content"),
            "createdAt": moment(summary.get("created_at")),
        }


def _message(source: Source, message: Object, sessions: _Sessions, workspace: str | None) -> Line:
    source.leave_fields("message", message, _MESSAGE)
    session, peer = source.text_in(message, "session_id"), source.text_in(message, "peer_id")
    created = moment(message.get("created_at"))
    return source.message(
        session,
        sessions.spoken((workspace, session), peer, created),
        project=workspace,
        messageId=message.get("id"),
        name=peer,
        content=message.get("content"),
        metadata=message.get("metadata"),
        tokenCount=message.get("token_count") or None,
        createdAt=created,
        formMemories=False,
    )


def _conclusion(source: Source, conclusion: dict[str, Any], sessions: _Sessions) -> Line:
    """A memory of the peer that was observed."""
    source.leave_fields("conclusion", conclusion, _CONCLUSION)
    workspace, observed = conclusion.get("workspace_id"), source.text_in(conclusion, "observed_id")
    kind = "agent" if sessions.is_agent(workspace, observed) else "user"
    beside = {name: conclusion[name] for name in ("observer_id", "session_id") if conclusion.get(name)}
    return {
        "type": "memory",
        "project": workspace,
        f"{kind}Id": source.name(kind, observed, workspace),
        "memoryId": conclusion.get("id"),
        "kind": "FACT",
        "content": source.text_in(conclusion, "content"),
        "metadata": beside or None,
        "createdAt": moment(conclusion.get("created_at")),
    }
