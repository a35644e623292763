"""W2 on RecallQL's tables in PostgreSQL, written by hand: asyncpg, three statements, dicts, orjson, and no GraphQL."""

import os
from base64 import b64encode
from typing import Any

import asyncpg
import orjson

Edges = list[dict[str, Any]]

SESSIONS, MESSAGES = 10, 20

USER = "SELECT key, user_id, name FROM users WHERE project = 'default' AND user_id = $1"

# A row more of each page tells of the next one.
SESSIONS_OF_USER = f"""
SELECT key, session_id, situation, created_at, deleted_through FROM sessions
WHERE user_key = $1 AND project = 'default' AND deleted_at IS NULL
ORDER BY created_at DESC, session_id DESC LIMIT {SESSIONS + 1}
"""

MESSAGES_OF_SESSIONS = f"""
SELECT session.place, message.*
FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS session (key, deleted_through, place)
CROSS JOIN LATERAL (
    SELECT sequence, role, content, created_at FROM messages
    WHERE session_key = session.key AND sequence > session.deleted_through
    ORDER BY sequence LIMIT {MESSAGES + 1}
) message
ORDER BY session.place, message.sequence
"""


def page(edges: Edges, first: int) -> dict[str, Any]:
    more = len(edges) > first
    del edges[first:]
    end = edges[-1]["cursor"] if edges else None
    return {"edges": edges, "pageInfo": {"hasNextPage": more, "endCursor": end}}


def session_edge(row: Any, messages: Edges) -> dict[str, Any]:
    key, session_id, situation, created_at, _ = row
    node = {"id": f"S{key.hex}", "sessionId": session_id, "situation": situation, "messages": page(messages, MESSAGES)}
    return {"cursor": b64encode(f"{created_at.isoformat()} {session_id}".encode()).decode(), "node": node}


async def message_edges(connection: Any, sessions: list[Any]) -> list[Edges]:
    """The messages of each session."""
    edges: list[Edges] = [[] for _ in sessions]
    prefixes = [f"M{session[0].hex}." for session in sessions]
    keys, deleted = [session[0] for session in sessions], [session[4] for session in sessions]
    for place, sequence, role, content, created_at in await connection.fetch(MESSAGES_OF_SESSIONS, keys, deleted):
        id = f"{prefixes[place - 1]}{sequence}"
        node = {"id": id, "role": role, "content": content, "createdAt": created_at}
        edges[place - 1].append({"cursor": str(sequence), "node": node})
    return edges


async def user_of(connection: Any, user_id: str) -> dict[str, Any] | None:
    user = await connection.fetchrow(USER, user_id)
    if user is None:
        return None
    key, user_id, name = user
    rows = await connection.fetch(SESSIONS_OF_USER, key)
    messages = await message_edges(connection, rows[:SESSIONS])
    edges = [session_edge(row, said) for row, said in zip(rows, [*messages, []], strict=False)]
    return {"id": f"U{key.hex}", "userId": user_id, "name": name, "sessions": page(edges, SESSIONS)}


class App:
    """The application, which opens its pool when the server starts."""

    pool: Any

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.live(receive, send)
        elif scope["type"] == "http":
            await self.answer(receive, send)

    async def live(self, receive: Any, send: Any) -> None:
        await receive()
        self.pool = await asyncpg.create_pool(os.environ["DATABASE"], min_size=1, max_size=8)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.pool.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def answer(self, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        variables = orjson.loads(body)["variables"]
        async with self.pool.acquire() as connection:
            user = await user_of(connection, variables["id"])
        answer = orjson.dumps({"data": {"user": user}}, option=orjson.OPT_UTC_Z)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


app = App()
