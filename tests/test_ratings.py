"""The ratings of formed memories, by which `minRating` selects and contexts rank."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from models.keys import user_key
from recallql.commands.archive import export_file, import_file
from recallql.settings import Settings
from tests.documents import CREATE_MEMORY, CREATE_USER, UPDATE_MEMORY, mutation
from tests.places import Fresh, older_place
from tests.servers import Server

ADD = mutation("addMessages", "memories { id method rating }")
OF_USER = """query ($filter: MemoryFilter) { user(userId: "ada") { memories(first: 100, filter: $filter) {
  nodes { content rating } } } }"""


@pytest.fixture
def ada(server: Server) -> Server:
    server.accepted(CREATE_USER, userId="ada")
    return server


def add(server: Server, *texts: str) -> list[dict[str, Any]]:
    said = [{"role": "USER", "content": text} for text in texts]
    return server.accepted(ADD, sessionId="chat", userId="ada", messages=said)["memories"]


def rated(server: Server, **filter: Any) -> dict[str, float | None]:
    nodes = server.graphql(OF_USER, filter=filter or None)["user"]["memories"]["nodes"]
    return {node["content"]: node["rating"] for node in nodes}


def test_what_rules_form_has_a_neutral_rating(ada: Server) -> None:
    sentences = [f"My sister number {n} lives in house number {n * 41} of our street." for n in range(20)]
    assert {(memory["method"], memory["rating"]) for memory in add(ada, "I'm vegan.", *sentences)} == {
        ("RULE", 0.5),
        ("EXTRACTIVE", 0.5),
    }


def test_the_least_rating_selects_among_declared_and_formed_memories(ada: Server) -> None:
    add(ada, "I'm vegan.")
    for content, rating in (("High", 0.8), ("Low", 0.2), ("Unrated", None)):
        ada.accepted(CREATE_MEMORY, userId="ada", kind="FACT", content=content, rating=rating)
    assert set(rated(ada, minRating=0.5)) == {"High", "I'm vegan"}
    assert set(rated(ada, minRating=0.51)) == {"High"}
    assert set(rated(ada, minRating=0)) == {"High", "Low", "I'm vegan"}


@pytest.mark.parametrize("rating", [0.9, None])
def test_a_rating_by_the_application_stays(ada: Server, fresh: Fresh, rating: float | None) -> None:
    (memory,) = add(ada, "I'm vegan.")
    ada.accepted(UPDATE_MEMORY, id=memory["id"], rating=rating)
    add(ada, "I'm vegan!")
    assert rated(ada) == {"I'm vegan": rating}
    lines = io.BytesIO()
    export_file(lines, Settings(database_url=ada.place.url))
    copy = fresh()
    import_file(io.BytesIO(lines.getvalue()), Settings(database_url=copy.url), size=None)
    other = Server(copy)
    try:
        assert rated(other) == {"I'm vegan": rating}
    finally:
        other.close()


def test_an_export_without_ratings_gets_those_of_formation(ada: Server) -> None:
    lines = [
        {"type": "memory", "userId": "ada", "kind": "FACT", "content": method, "method": method}
        for method in ("RULE", "EXTRACTIVE", "MODEL", "DECLARED")
    ]
    file = io.BytesIO(b"\n".join(json.dumps(line).encode() for line in lines))
    import_file(file, Settings(database_url=ada.place.url), size=None)
    assert rated(ada) == {"RULE": 0.5, "EXTRACTIVE": 0.5, "MODEL": 0.5, "DECLARED": None}


@pytest.mark.sqlite
def test_formed_memories_of_before_the_upgrade_get_the_rating(tmp_path: Path) -> None:
    place = older_place(tmp_path, "0007")
    now, ada = "2025-01-01T00:00:00", user_key("default", "ada")
    common = {"project": "default", "metadata": "{}", "created_at": now, "updated_at": now, "version": 1}
    place.insert("users", [common | {"key": ada, "user_id": "ada", "about": "", "nonce": 0}])
    memories = [("RULE", None, None), ("EXTRACTIVE", None, None), ("MODEL", None, None), ("DECLARED", None, None)]
    memories += [("RULE", 0.9, None), ("RULE", None, now)]
    for number, (method, rating, corrected) in enumerate(memories):
        key = bytes([number]) * 16
        formed = {"content": f"{number} {method}", "method": method, "rating": rating, "corrected_at": corrected}
        kept = {"key": key, "user_key": ada, "kind": "FACT", "digest": key, "fingerprint": key}
        place.insert("memories", [common | kept | formed])
    server = Server(place)
    try:
        assert rated(server) == {
            "0 RULE": 0.5,
            "1 EXTRACTIVE": 0.5,
            "2 MODEL": 0.5,
            "3 DECLARED": None,
            "4 RULE": 0.9,
            "5 RULE": None,
        }
    finally:
        server.close()
