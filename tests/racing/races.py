"""What the tests of transactions at the same time share: clients of several servers that begin together."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tests.documents import mutation
from tests.places import Place
from tests.servers import Api, Server

T = TypeVar("T")

ADD = mutation("addMessages", "messages { sequence }")


END = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND application_name = 'recallql' AND pid <> pg_backend_pid()"""
"""Ends the connections of the servers."""

ORPHANS = {
    "sessions without their user": """SELECT count(*) FROM sessions WHERE user_key IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM users WHERE users.key = sessions.user_key)""",
    "memories without their user": """SELECT count(*) FROM memories WHERE user_key IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM users WHERE users.key = memories.user_key)""",
    "documents without their user": """SELECT count(*) FROM documents WHERE user_key IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM users WHERE users.key = documents.user_key)""",
    "sessions without their agent": """SELECT count(*) FROM sessions WHERE agent_key IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM agents WHERE agents.key = sessions.agent_key)""",
    "memories without their agent": """SELECT count(*) FROM memories WHERE agent_key IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM agents WHERE agents.key = memories.agent_key)""",
    "documents without their agent": """SELECT count(*) FROM documents WHERE agent_key IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM agents WHERE agents.key = documents.agent_key)""",
    "memories without their session": """SELECT count(*) FROM memories WHERE session_key IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.key = memories.session_key)""",
    "memories of another user than their session": """SELECT count(*) FROM memories
        JOIN sessions ON sessions.key = session_key WHERE memories.user_key IS DISTINCT FROM sessions.user_key""",
    "sources that are not there": """SELECT count(*) FROM memory_sources AS source WHERE
        session_key IS NOT NULL AND NOT EXISTS (SELECT 1 FROM messages WHERE
            messages.session_key = source.session_key AND messages.sequence = source.sequence)
        OR document_key IS NOT NULL AND NOT EXISTS (SELECT 1 FROM documents WHERE documents.key = document_key)""",
}


def nothing_is_left(place: Place) -> None:
    """Asserts that every reference leads to something, and that memories are with the user of their session."""
    found = {name: place.query(query)[0][0] for name, query in ORPHANS.items()}
    assert found == dict.fromkeys(ORPHANS, 0)


def count(place: Place, table: str, where: str = "1 = 1") -> int:
    """The number of rows of a table."""
    return place.query(f"SELECT count(*) FROM {table} WHERE {where}")[0][0]


class Servers:
    """Servers on one database. Each client has a connection of its own, to one server after the other."""

    def __init__(self, running: Sequence[Server]) -> None:
        self.running = running
        self.first = running[0]

    def race(self, *operations: Callable[[Api], T]) -> list[T]:
        """Carries out operations at the same time, each with a client of its own; returns what they return."""
        together = threading.Barrier(len(operations))

        def run(number: int) -> T:
            server = self.running[number % len(self.running)]
            client = Api(server.port, server.place)
            try:
                together.wait()
                return operations[number](client)
            finally:
                client.close()

        with ThreadPoolExecutor(len(operations)) as threads:
            return list(threads.map(run, range(len(operations))))


def codes_of(payload: dict[str, Any]) -> list[str]:
    return [error["code"] for error in payload["userErrors"]]


def send(api: Api, document: str, **fields: Any) -> dict[str, Any]:
    """The payload of a mutation, with or without errors."""
    (payload,) = api.graphql(document, input=fields).values()
    return payload


def said(*texts: str, role: str = "USER") -> list[dict[str, str]]:
    return [{"role": role, "content": text} for text in texts]
