"""The floor: what the four answers cost with sqlite3, dicts and orjson written by hand, and no GraphQL at all."""

import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from benchmarks.servers.statements import (
    ADD_MESSAGE,
    DATABASE,
    MESSAGES,
    PRAGMAS,
    SESSIONS,
    TAKE_SEQUENCES,
    USER,
    USERS,
)

Row = tuple[Any, ...]

connection = sqlite3.connect(DATABASE, isolation_level=None)
for pragma in PRAGMAS:
    connection.execute(pragma)


def cursor_of(key: int) -> str:
    return b64encode(b"%d" % key).decode()


def page(edges: list[dict[str, Any]], first: int) -> dict[str, Any]:
    more = len(edges) > first
    del edges[first:]
    end = edges[-1]["cursor"] if edges else None
    return {"edges": edges, "pageInfo": {"hasNextPage": more, "endCursor": end}}


def users_of(after: str | None, first: int) -> list[Row]:
    key = None if after is None else int(b64decode(after))
    return connection.execute(USERS, {"after": key, "first": first}).fetchall()


def pages_of(statement: str, parents: list[int], first: int, edge: Callable[[Row], Any]) -> dict[int, dict[str, Any]]:
    """The page of each parent, read with one statement."""
    edges: dict[int, list[dict[str, Any]]] = {parent: [] for parent in parents}
    for row in connection.execute(statement, {"parents": orjson.dumps(parents).decode(), "first": first}):
        edges[row[0]].append(edge(row))
    return {parent: page(found, first) for parent, found in edges.items()}


def message_edge(row: Row) -> dict[str, Any]:
    node = {"id": f"M{row[1]}", "role": row[3], "content": row[4], "createdAt": row[5]}
    return {"cursor": cursor_of(row[2]), "node": node}


def sessions_of(users: list[int], first: int, messages: int) -> dict[int, dict[str, Any]]:
    nodes: dict[int, dict[str, Any]] = {}

    def session_edge(row: Row) -> dict[str, Any]:
        node = nodes[row[1]] = {"id": f"S{row[1]}", "sessionId": row[2], "situation": row[3]}
        return {"cursor": cursor_of(row[1]), "node": node}

    pages = pages_of(SESSIONS, users, first, session_edge)
    for session, said in pages_of(MESSAGES, list(nodes), messages, message_edge).items():
        nodes[session]["messages"] = said
    return pages


def one_user(variables: dict[str, Any]) -> dict[str, Any]:
    row = connection.execute(USER, {"user_id": variables["id"]}).fetchone()
    names = ("id", "userId", "email", "name", "about", "createdAt")
    return {"user": {**dict(zip(names, row, strict=True)), "id": f"U{row[0]}"}}


def one_tree(variables: dict[str, Any]) -> dict[str, Any]:
    key, user_id, _, name, *_ = connection.execute(USER, {"user_id": variables["id"]}).fetchone()
    return {"user": {"id": f"U{key}", "userId": user_id, "name": name, "sessions": sessions_of([key], 10, 20)[key]}}


def many_trees(variables: dict[str, Any]) -> dict[str, Any]:
    rows = users_of(variables["after"], 20)
    sessions = sessions_of([row[0] for row in rows[:20]], 5, 10)
    edges = [
        {
            "cursor": cursor_of(row[0]),
            "node": {"id": f"U{row[0]}", "userId": row[1], "name": row[3], "sessions": sessions.get(row[0])},
        }
        for row in rows
    ]
    return {"users": page(edges, 20)}


def append(variables: dict[str, Any]) -> dict[str, Any]:
    messages, now = variables["messages"], datetime.now(UTC).isoformat()
    added: list[dict[str, Any]] = []
    connection.execute("BEGIN IMMEDIATE")
    taken = {"count": len(messages), "session_id": variables["session"]}
    session, last = connection.execute(TAKE_SEQUENCES, taken).fetchone()
    for sequence, message in enumerate(messages, last - len(messages) + 1):
        row = {"session": session, "sequence": sequence, "created_at": now, **message}
        (key,) = connection.execute(ADD_MESSAGE, row).fetchone()
        added.append({"id": f"M{key}", "sequence": sequence, "role": message["role"], "createdAt": now})
    connection.execute("COMMIT")
    return {"addMessages": {"messages": added, "userErrors": []}}


def cursors(variables: dict[str, Any]) -> dict[str, Any]:
    return {"users": page([{"cursor": cursor_of(row[0])} for row in users_of(variables["after"], 100)], 100)}


ANSWERS = {"W1": one_user, "W2": one_tree, "W3": many_trees, "W4": append, "Cursors": cursors}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    request = orjson.loads(body)
    answer = orjson.dumps({"data": ANSWERS[request["operationName"]](request["variables"])})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
