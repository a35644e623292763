"""A server whose memories a chat model forms, and what its answers and the memories are."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.documents import CREATE_USER, mutation
from tests.model_server import Json, ModelServer
from tests.places import Place
from tests.servers import Process, Server, wait_until

ADD = mutation("addMessages", "messages { id } memories { method content }")
KNOWN = """query ($filter: MemoryFilter) { user(userId: "ada") { memories(first: 100, filter: $filter) { nodes {
  kind method model content about validFrom supersededBy { content } session { sessionId }
  sources(first: 100) { nodes { ... on Message { sequence } } }
} } } }"""
SUMMARY = 'query { session(sessionId: "chat") { summary { method model content } } }'
KEY = "sk-0123456789abcdef"


def shown(body: Json) -> Json:
    """The content of a request to the model."""
    return json.loads(body["messages"][1]["content"])


def answer(*memories: Json, summary: str | None = None) -> str:
    return json.dumps({"memories": list(memories), "summary": summary})


def fact(content: str, *sources: int, **more: Any) -> Json:
    return {"kind": "FACT", "content": content, "sources": list(sources), **more}


def echo(body: Json) -> str:
    """A model that takes every message for a fact."""
    said = shown(body)["messages"]
    facts = [fact(f"It was said: {turn['content'][:100]}", turn["sequence"]) for turn in said]
    return answer(*facts, summary=f"{len(said)} turns, the last {said[-1]['content'][:100]}")


def settings_for(model: ModelServer, **more: Any) -> dict[str, Any]:
    return {"chat_base_url": model.url, "chat_api_key": KEY, "chat_model": "small", "chat_timeout": 2.0, **more}


def shorten_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resolvers.formation.jobs.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("recallql.background.forming.LOOK_EVERY", 0.02)


@contextmanager
def forming(model: ModelServer, place: Place) -> Generator[Server]:
    """The application with a model, and a user."""
    running = Server(place, **settings_for(model))
    try:
        running.accepted(CREATE_USER, userId="ada")
        yield running
    finally:
        model.hold.set()
        running.close()


def add(server: Server | Process, *texts: str, session: str = "chat", **fields: Any) -> list[str]:
    said = [{"role": "USER", "content": text} for text in texts]
    payload = server.accepted(ADD, sessionId=session, userId="ada", messages=said, **fields)
    return [message["id"] for message in payload["messages"]]


def known(server: Server | Process, **filter: Any) -> list[Json]:
    """Ada's memories apart from summaries, oldest first."""
    filter = {"kinds": ["FACT", "PREFERENCE", "EVENT"], **filter}
    return server.graphql(KNOWN, filter=filter)["user"]["memories"]["nodes"][::-1]


def said(server: Server | Process, **filter: Any) -> list[str]:
    return [memory["content"] for memory in known(server, **filter)]


def summary(server: Server | Process) -> str | None:
    found = server.graphql(SUMMARY)["session"]["summary"]
    return found and found["content"]


def jobs(server: Server | Process) -> list[dict[str, Any]]:
    columns = ["session_key", "project", "status", "after", "through", "edited", "attempts", "due"]
    columns += ["claim", "error", "created", "updated"]
    return [dict(zip(columns, row, strict=True)) for row in server.tables()["jobs"]]


def done(server: Server | Process) -> None:
    wait_until(lambda: not jobs(server))
