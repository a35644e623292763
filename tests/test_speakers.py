"""Several speakers in a session: whose a memory is, and what is kept apart."""

import contextlib
import io
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from conftest import Server

from models.keys import fingerprint, key_of, user_key
from models.migrate import MIGRATIONS, migrate
from recallql.archive import export_file, import_file
from recallql.settings import Settings

ERRORS = "userErrors { code message path }"
MEMORY = "id kind content about method validUntil supersededBy { content } user { userId }"
USER = f"mutation ($input: CreateUserInput!) {{ createUser(input: $input) {{ user {{ id }} {ERRORS} }} }}"
DECLARE = (
    f"mutation ($input: CreateMemoryInput!) {{ createMemory(input: $input) {{ memory {{ {MEMORY} }} {ERRORS} }} }}"
)
ADD = f"""mutation ($input: AddMessagesInput!) {{
  addMessages(input: $input) {{ messages {{ id }} memories {{ {MEMORY} }} {ERRORS} }}
}}"""
OF_USER = f"""query ($filter: MemoryFilter) {{
  user(userId: "ada") {{ summary {{ content }} memories(first: 100, filter: $filter) {{ nodes {{ {MEMORY} }} }} }}
}}"""


def declare(server: Server, content: str, **fields: Any) -> dict[str, Any]:
    return server.accepted(DECLARE, **{"userId": "ada", "kind": "FACT", "content": content} | fields)["memory"]


def known(server: Server, **filter: Any) -> list[tuple[str, str | None]]:
    """Ada's memories and whom they are about, oldest first."""
    nodes = server.graphql(OF_USER, filter=filter or None)["user"]["memories"]["nodes"]
    return [(node["content"], node["about"]) for node in reversed(nodes)]


def test_a_declared_memory_says_whom_it_is_about(server: Server) -> None:
    server.accepted(USER, userId="ada")
    assert declare(server, "Lives in Turin.")["about"] is None
    assert declare(server, "Lives in Rome.", about="Bob Smith")["about"] == "Bob Smith"
    assert declare(server, "Lives in Kiel.", about="Greta")["about"] == "Greta"
    assert known(server, about=["bob  SMITH"]) == [("Lives in Rome.", "Bob Smith")]
    assert known(server, about=["Greta", "Bob Smith", "Ada"]) == [
        ("Lives in Rome.", "Bob Smith"),
        ("Lives in Kiel.", "Greta"),
    ]
    assert known(server, about=[]) == []
    assert len(known(server)) == 3
    for about, code in (("", "INVALID"), (" ", "INVALID"), ("x" * 65537, "TOO_LARGE")):
        fault = server.refused(DECLARE, userId="ada", kind="FACT", content="x", about=about)
        assert (fault["code"], fault["path"]) == (code, ["about"])


def test_a_retry_that_is_about_somebody_else_is_another_memory(server: Server) -> None:
    server.accepted(USER, userId="ada")
    first = declare(server, "Lives in Rome.", memoryId="m", about="Bob")
    assert declare(server, "Lives in Rome.", memoryId="m", about="Bob") == first
    for about in ({"about": "Greta"}, {}):
        fault = server.refused(DECLARE, userId="ada", kind="FACT", content="Lives in Rome.", memoryId="m", **about)
        assert fault["code"] == "CONFLICT"


def test_a_memory_supersedes_only_what_is_about_the_same_person(server: Server) -> None:
    server.accepted(USER, userId="ada")
    own = declare(server, "Lives in Turin.")["id"]
    bob = declare(server, "Lives in Rome.", about="Bob")["id"]
    for about, older in ({"about": "Bob"}, own), ({}, bob), ({"about": "Greta"}, bob):
        fault = server.refused(DECLARE, userId="ada", kind="FACT", content="x", supersedes=[older], **about)
        assert (fault["code"], fault["path"]) == ("INVALID", ["supersedes", "0"])
    declare(server, "Lives in Milan.", about="BOB", supersedes=[bob])
    assert known(server) == [("Lives in Turin.", None), ("Lives in Milan.", "BOB")]


def test_a_summary_about_somebody_else_is_not_the_users(server: Server) -> None:
    server.accepted(USER, userId="ada")
    declare(server, "Ada's.", kind="SUMMARY")
    declare(server, "Bob's.", kind="SUMMARY", about="Bob")
    assert known(server) == [("Ada's.", None), ("Bob's.", "Bob")]
    assert server.graphql(OF_USER)["user"]["summary"] == {"content": "Ada's."}
    declare(server, "Bob's second.", kind="SUMMARY", about="bob")
    assert known(server) == [("Ada's.", None), ("Bob's second.", "bob")]


def test_an_export_keeps_whom_memories_are_about(server: Server, tmp_path: Path) -> None:
    server.accepted(USER, userId="ada")
    declare(server, "Lives in Rome.", about="Bob Smith")
    copy = tmp_path / "copy.db"
    exported, again = io.BytesIO(), io.BytesIO()
    export_file(exported, Settings(database_url=f"sqlite:///{server.path}"))
    assert b'"about":"Bob Smith"' in exported.getvalue()
    import_file(io.BytesIO(exported.getvalue()), Settings(database_url=f"sqlite:///{copy}"), size=None)
    export_file(again, Settings(database_url=f"sqlite:///{copy}"))
    assert again.getvalue() == exported.getvalue()
    other = Server(copy)
    try:
        assert known(other, about=["bob smith"]) == [("Lives in Rome.", "Bob Smith")]
    finally:
        other.close()


def test_memories_of_before_the_upgrade_are_the_users_own(tmp_path: Path) -> None:
    before = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, before, ignore=shutil.ignore_patterns("__pycache__", "000[5-9]*", "00[1-9]?_*"))
    path = tmp_path / "old.db"
    migrate(path, before)
    user, key, now = user_key("default", "ada"), key_of("memory", "old"), "2025-01-01T00:00:00"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.create_function("lane_of", 1, lambda _: 0)
        connection.execute(
            "INSERT INTO users (key, project, user_id, about, metadata, created_at, updated_at, version) "
            "VALUES (?, 'default', 'ada', '', '{}', ?, ?, 1)",
            [user, now, now],
        )
        connection.execute(
            "INSERT INTO memories (key, project, user_key, kind, content, method, subject, metadata, digest, "
            "fingerprint, valid_from, created_at, updated_at, version) "
            "VALUES (?, 'default', ?, 'FACT', 'I live in Turin', 'RULE', 'home', '{}', ?, ?, ?, ?, ?, 1)",
            [key, user, key, fingerprint("I live in Turin"), now, now, now],
        )
    server = Server(path)
    try:
        assert known(server) == [("I live in Turin", None)]
        (newer,) = server.accepted(
            ADD, sessionId="chat", userId="ada", messages=[{"role": "USER", "content": "I live in Milan."}]
        )["memories"]
        assert (newer["content"], newer["about"]) == ("I live in Milan", None)
        assert known(server) == [("I live in Milan", None)]
    finally:
        server.close()
