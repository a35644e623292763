"""Opting in to memories and out: by the message, its batch, its session, its user, and the setting."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recallql.commands.archive import export_file, import_file
from recallql.settings import Settings
from tests.documents import (
    CREATE_SESSION,
    CREATE_USER,
    END_SESSION,
    UPDATE_MESSAGE,
    UPDATE_SESSION,
    UPDATE_USER,
    mutation,
)
from tests.places import Fresh, Place
from tests.servers import Server

ADD = mutation("addMessages", "messages { id } deduplicated memories { content method }")
OF_SESSION = """{ session(sessionId: "chat") { memories(first: 100, filter: {history: true}) {
  nodes { content method } } } }"""


def add(server: Server, *messages: dict[str, Any], session: str = "chat", **fields: Any) -> dict[str, Any]:
    said = [{"role": "USER", **message} for message in messages]
    return server.accepted(ADD, sessionId=session, messages=said, **fields)


def contents(payload: dict[str, Any]) -> list[str]:
    return [memory["content"] for memory in payload["memories"]]


def stored(server: Server) -> list[int]:
    """The decisions that the messages keep, in their order."""
    return [forms for (forms,) in server.place.query("SELECT forms_memories FROM messages ORDER BY sequence")]


def memories(server: Server) -> list[str]:
    nodes = server.graphql(OF_SESSION)["session"]["memories"]["nodes"]
    return [node["content"] for node in reversed(nodes)]


TURIN, FORMED = {"content": "I live in Turin."}, ["I live in Turin"]

CHOICES: list[tuple[dict[str, bool], bool]] = [
    ({}, True),
    ({"setting": False}, False),
    ({"setting": False, "user": True}, True),
    ({"user": False}, False),
    ({"user": False, "session": True}, True),
    ({"user": True, "session": False}, False),
    ({"session": False, "batch": True}, True),
    ({"session": True, "batch": False}, False),
    ({"user": False, "session": False, "batch": False, "message": True}, True),
    ({"setting": True, "user": True, "session": True, "batch": True, "message": False}, False),
]


@pytest.mark.parametrize(("choices", "forms"), CHOICES, ids=lambda value: str(value))
def test_the_nearest_choice_decides(start: Callable[..., Server], choices: dict[str, bool], forms: bool) -> None:
    server = start(form_memories=choices.get("setting", True))
    server.accepted(CREATE_USER, userId="ada", formMemories=choices.get("user"))
    message = {**TURIN, "formMemories": choices.get("message")}
    batch = choices.get("batch")
    if "session" not in choices:
        assert contents(add(server, message, session="new", userId="ada", formMemories=batch)) == FORMED[:forms]
    server.accepted(CREATE_SESSION, sessionId="chat", userId="ada", formMemories=choices.get("session"))
    assert contents(add(server, message, formMemories=batch)) == FORMED[:forms]
    assert set(stored(server)) == {forms}


def test_the_user_to_whom_messages_attach_a_session_decides(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada", formMemories=False)
    assert contents(add(server, TURIN)) == ["I live in Turin"]
    assert contents(add(server, {"content": "I'm vegan."}, userId="ada")) == []
    # Attaching it did nothing to the messages stored before.
    assert memories(server) == ["I live in Turin"]


def test_a_batch_may_have_messages_of_both_kinds(server: Server) -> None:
    vegan, nurse = {"content": "I'm vegan."}, {"content": "I'm a nurse."}
    mixed = [TURIN, {**vegan, "formMemories": False}, {**nurse, "formMemories": True}]
    assert contents(add(server, *mixed)) == ["I live in Turin", "I'm a nurse"]
    assert contents(
        add(server, *({**each, "content": f"{each['content']} "} for each in mixed), formMemories=False)
    ) == ["I'm a nurse"]
    assert stored(server) == [1, 0, 1, 0, 0, 1]


def test_a_retry_changes_no_decision(server: Server) -> None:
    yes, no = {**TURIN, "messageId": "yes"}, {"content": "I'm vegan.", "messageId": "no", "formMemories": False}
    add(server, yes, no)
    again = add(server, {**yes, "formMemories": False}, {**no, "formMemories": True})
    assert (again["deduplicated"], contents(again)) == (2, ["I live in Turin"])
    assert stored(server) == [1, 0]
    assert memories(server) == ["I live in Turin"]


def test_a_change_of_the_choice_concerns_later_messages_only(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada")
    (first,) = add(server, TURIN, userId="ada")["messages"]
    server.accepted(UPDATE_USER, userId="ada", formMemories=False)
    (second,) = add(server, {"content": "I'm vegan."})["messages"]
    assert memories(server) == ["I live in Turin"]
    server.accepted(UPDATE_SESSION, sessionId="chat", formMemories=True)
    assert contents(add(server, {"content": "I'm a nurse."})) == ["I'm a nurse"]
    server.accepted(UPDATE_SESSION, sessionId="chat", formMemories=False)
    # An edit goes by the decision that was made when the message was added.
    server.accepted(UPDATE_MESSAGE, id=first["id"], content="I live in Milan.")
    server.accepted(UPDATE_MESSAGE, id=second["id"], content="I love boats.")
    assert sorted(memories(server)) == ["I live in Milan", "I'm a nurse"]


def test_a_summary_quotes_only_messages_that_form_memories(server: Server) -> None:
    quiet = [
        {"content": f"The secret number {n} of the safe is {n * 37} as you know.", "formMemories": False}
        for n in range(9)
    ]
    loud = [{"content": f"My sister number {n} lives in house number {n * 41} of our street."} for n in range(9)]
    (summary,) = add(server, *quiet, *loud, {"content": "Ok."}, {"content": "Bye!", "formMemories": False})["memories"]
    assert summary["method"] == "EXTRACTIVE"
    assert "sister" in summary["content"]
    assert "secret" not in summary["content"]


def test_a_session_that_opts_out_is_not_summarised(server: Server) -> None:
    server.accepted(CREATE_SESSION, sessionId="chat", formMemories=False)
    said = [{"content": f"My sister number {n} lives in house number {n * 41} of our street."} for n in range(20)]
    assert contents(add(server, *said)) == []
    server.accepted(END_SESSION, sessionId="chat")
    assert memories(server) == []


def imported(place: Place, tmp_path: Path, *lines: dict[str, Any], setting: bool = True) -> None:
    file = tmp_path / "in.ndjson"
    file.write_text("\n".join(json.dumps(line) for line in lines))
    with file.open("rb") as opened:
        import_file(opened, Settings(database_url=place.url, form_memories=setting), size=None)


@pytest.mark.parametrize(
    ("setting", "user", "session", "message", "forms"),
    [
        (True, None, None, None, True),
        (False, None, None, None, False),
        (False, True, None, None, True),
        (True, False, None, None, False),
        (True, False, True, None, True),
        (True, True, False, None, False),
        (False, False, False, True, True),
        (True, None, None, False, False),
    ],
)
def test_an_imported_message_goes_by_its_line_else_its_session_else_its_user_else_the_setting(
    server: Server,
    tmp_path: Path,
    setting: bool,
    user: bool | None,
    session: bool | None,
    message: bool | None,
    forms: bool,
) -> None:
    said = {"type": "message", "sessionId": "chat", "role": "USER", "createdAt": "2024-01-01T00:00:00Z"}
    imported(
        server.place,
        tmp_path,
        {"type": "user", "userId": "ada", "formMemories": user},
        {"type": "session", "sessionId": "chat", "userId": "ada", "formMemories": session},
        {**said, **TURIN, "formMemories": message},
        {**said, "content": "I'm vegan.", "formMemories": False},
        setting=setting,
    )
    assert memories(server) == (["I live in Turin"] if forms else [])
    assert sorted(stored(server)) == [0, int(forms)]


def test_an_exported_message_keeps_its_decision(server: Server, fresh: Fresh, tmp_path: Path) -> None:
    server.accepted(CREATE_USER, userId="ada")
    add(server, TURIN, {"content": "I'm vegan.", "formMemories": False}, userId="ada")
    # Choices of now, which decide about no message that was stored before.
    server.accepted(UPDATE_USER, userId="ada", formMemories=False)
    server.accepted(UPDATE_SESSION, sessionId="chat", formMemories=False)
    file, copy = tmp_path / "out.ndjson", fresh()
    with file.open("wb") as opened:
        export_file(opened, Settings(database_url=server.place.url))
    with file.open("rb") as opened:
        import_file(opened, Settings(database_url=copy.url), size=None)
    other = Server(copy)
    try:
        assert stored(other) == stored(server) == [1, 0]
        nodes = other.graphql('{ session(sessionId: "chat") { messages { nodes { id } } } }')["session"]["messages"]
        for node, content in zip(nodes["nodes"], ("I live in Milan.", "I love boats."), strict=True):
            other.accepted(UPDATE_MESSAGE, id=node["id"], content=content)
        assert memories(other) == ["I live in Milan"]
    finally:
        other.close()
