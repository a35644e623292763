"""Subscriptions as the tests start and follow them."""

import time
from collections.abc import Callable
from typing import Any

from tests.documents import ISSUE_USER_TOKEN, mutation
from tests.servers import Api, Server, wait_until
from tests.sockets import Client

Connect = Callable[..., Client]
"""`connect(server)` opens a connection as the application, `connect(server, token)` as a user."""

ADDED = """subscription ($session: String!, $after: String, $start: Int) {
  messageAdded(sessionId: $session, after: $after, afterSequence: $start) { cursor node { sequence content } } }"""
MESSAGES = """subscription ($session: String!) {
  messageChanged(sessionId: $session) { change nodeId message { id content } } }"""
MEMORIES = "subscription ($user: String) { memoryChanged(userId: $user) { change nodeId memory { id content } } }"
SESSIONS = "subscription ($user: String) { sessionChanged(userId: $user) { change nodeId session { id title } } }"

ADD = mutation("addMessages", "messages { id } messageEdges { cursor node { sequence } } session { id }")
EDGES = (
    "query ($id: String!) { session(sessionId: $id) { messages(first: 100) { edges { cursor node { sequence } } } } }"
)


def add(server: Api, session: str, *texts: str, **more: Any) -> dict[str, Any]:
    said = [{"role": "USER", "content": text} for text in texts]
    return server.accepted(ADD, sessionId=session, messages=said, **more)


def events(client: Client, count: int) -> list[Any]:
    """The next events, whatever their subscription."""
    found: list[Any] = []
    while len(found) < count:
        message = client.heard()
        assert message["type"] == "next", message
        assert "errors" not in message["payload"], message
        found += message["payload"]["data"].values()
    return found


def contents(client: Client, count: int) -> list[str]:
    return [event["node"]["content"] for event in events(client, count)]


def changes(client: Client, count: int) -> list[tuple[str, str]]:
    return [(event["change"], event["nodeId"]) for event in events(client, count)]


def follow(server: Api, client: Client, id: str, document: str, **variables: Any) -> None:
    """Subscribes, and waits until the server watches: a change from now on is an event."""
    before = _watching(server)
    client.subscribe(id, document, **variables)
    if isinstance(server, Server) and document != ADDED:
        wait_until(lambda: _watching(server) > before, "the subscription has not begun")
    else:
        # Nothing tells of another process when it watches, nor from which place messages are new.
        time.sleep(0.3 if isinstance(server, Server) else 1.0)


def _watching(server: Api) -> int:
    """The number of watches, of a server in this process."""
    return server.app.state.live.watching if isinstance(server, Server) else 0


def nothing_comes(client: Client, server: Api) -> None:
    """Nothing was sent before the answer to a query."""
    time.sleep(0.2)
    assert client.ask("{ viewer { role } }") in ({"data": {"viewer": {"role": role}}} for role in ("SERVICE", "USER"))


def token_of(server: Api, user: str, *permissions: str) -> str:
    more = {"permissions": list(permissions)} if permissions else {}
    return server.accepted(ISSUE_USER_TOKEN, userId=user, **more)["token"]
