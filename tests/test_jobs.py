"""Memories that a chat model forms, through jobs: asked of a local server that speaks its protocol, and that fails."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import update
from structlog.testing import capture_logs

from models import tables
from models.statements import Statement
from recallql.commands.archive import import_file
from recallql.settings import Settings
from tests.commands import start
from tests.documents import (
    CREATE_MEMORY,
    CREATE_USER,
    DELETE_MESSAGE,
    DELETE_SESSION,
    DELETE_USER,
    UPDATE_MESSAGE,
    UPDATE_SESSION,
    UPDATE_USER,
    mutation,
)
from tests.forming import (
    ADD,
    KEY,
    add,
    answer,
    done,
    echo,
    fact,
    forming,
    jobs,
    known,
    said,
    settings_for,
    shorten_pauses,
    shown,
    summary,
)
from tests.model_server import Json, ModelServer, Reply
from tests.places import Place
from tests.servers import Process, Serve, Server, Start, wait_until


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)


@pytest.fixture
def model() -> Iterator[ModelServer]:
    running = ModelServer(echo)
    yield running
    running.close()


@pytest.fixture
def ada(model: ModelServer, place: Place) -> Iterator[Server]:
    with forming(model, place) as running:
        yield running


def command(server: Server | Process, *arguments: str) -> str:
    """The output of `recallql jobs …` on the database of a running server."""
    ran = start("jobs", *arguments, *server.place.option)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_model_forms_memories_later_and_names_itself_and_their_sources(ada: Server, model: ModelServer) -> None:
    model.hold.clear()
    payload = ada.accepted(
        ADD,
        sessionId="chat",
        userId="ada",
        messages=[
            {"role": "USER", "content": "We bought a boat.", "createdAt": "2024-01-01T00:00:00Z"},
            {"role": "TOOL", "content": "a tool's words"},
            {"role": "USER", "content": "I live in Turin."},
        ],
    )
    assert payload["memories"] == [{"method": "RULE", "content": "I live in Turin"}]
    model.hold.set()
    done(ada)
    rule, boat, home = known(ada)
    assert rule["method"] == "RULE"
    assert (boat["method"], boat["model"], boat["kind"]) == ("MODEL", "small", "FACT")
    assert boat["content"] == "It was said: We bought a boat."
    assert boat["validFrom"] == "2024-01-01T00:00:00Z"
    assert boat["sources"]["nodes"] == [{"sequence": 1}]
    assert home["sources"]["nodes"] == [{"sequence": 3}]
    assert summary(ada) == "2 turns, the last I live in Turin."
    (asked,) = model.asked
    assert (asked.body["model"], asked.body["response_format"]) == ("small", {"type": "json_object"})
    assert asked.headers["authorization"] == f"Bearer {KEY}"


def test_what_comes_meanwhile_waits_in_the_same_job(ada: Server, model: ModelServer) -> None:
    model.hold.clear()
    add(ada, "one")
    model.wait_for(1)
    for text in ("two", "three", "four"):
        add(ada, text)
    assert len(jobs(ada)) == 1
    model.hold.set()
    done(ada)
    assert [[turn["content"] for turn in shown(asked.body)["messages"]] for asked in model.asked] == [
        ["one"],
        ["two", "three", "four"],
    ]
    assert [turn["content"] for turn in shown(model.asked[1].body)["before"]] == ["one"]
    assert shown(model.asked[1].body)["summary"] == "1 turns, the last one"
    assert summary(ada) == "3 turns, the last four"


def test_much_at_once_is_read_in_several_questions(ada: Server, model: ModelServer) -> None:
    add(ada, *[f"turn {n}" for n in range(40)], "long " * 1000, *["long " * 3000] * 9)
    done(ada)
    read = [[turn["sequence"] for turn in shown(asked.body)["messages"]] for asked in model.asked]
    assert [sequence for batch in read for sequence in batch] == list(range(1, 51))
    assert [len(batch) for batch in read] == [30, 15, 5]
    assert max(len(asked.body["messages"][1]["content"]) for asked in model.asked) < 50_000


def test_nothing_is_asked_of_what_is_not_to_be_formed_from(ada: Server, model: ModelServer) -> None:
    (id,) = add(ada, "secret", formMemories=False)
    ada.accepted(UPDATE_MESSAGE, id=id, content="secret still")
    assert jobs(ada) == []
    add(ada, "open")
    done(ada)
    assert "secret" not in json.dumps([asked.body for asked in model.asked])


def test_a_job_is_extended_only_by_messages_that_form_memories(ada: Server, model: ModelServer) -> None:
    model.hold.clear()
    add(ada, "one")
    model.wait_for(1)
    mixed = [{"content": "two"}, {"content": "three", "formMemories": False}]
    ada.accepted(ADD, sessionId="chat", messages=[{"role": "USER", **message} for message in mixed])
    add(ada, "four", formMemories=False)
    assert [job["through"] for job in jobs(ada)] == [2]
    model.hold.set()
    done(ada)
    assert [turn["content"] for turn in shown(model.asked[1].body)["messages"]] == ["two"]


PENDING = """{ sessions(orderBy: { field: SESSION_ID, direction: ASC }) { nodes { sessionId memoriesPending } } }"""


def pending(server: Server) -> list[str]:
    nodes = server.graphql(PENDING)["sessions"]["nodes"]
    return [node["sessionId"] for node in nodes if node["memoriesPending"]]


def test_a_session_says_that_messages_wait_for_the_model(ada: Server, model: ModelServer) -> None:
    model.hold.clear()
    add(ada, "quiet", session="quiet", formMemories=False)
    add(ada, "one")
    assert pending(ada) == ["chat"]
    model.wait_for(1)
    assert pending(ada) == ["chat"]
    model.always = Reply(401)
    model.hold.set()
    add(ada, "two", session="failing")
    wait_until(lambda: "FAILED" in {job["status"] for job in jobs(ada)})
    assert "failing" in pending(ada)
    model.always = None
    add(ada, "three", session="failing")
    add(ada, "four")
    done(ada)
    assert pending(ada) == []


def test_a_model_rates_what_it_forms(ada: Server, model: ModelServer) -> None:
    ratings = [0.9, 0, 1, None, "0.8", 7, -1, True, [0.3]]
    facts = [fact(f"Fact {n}", 1, rating=rating) for n, rating in enumerate(ratings)]
    model.chat = lambda body: answer(*facts, fact("Unrated", 1), summary="A summary.")
    add(ada, "one")
    done(ada)
    nodes = ada.graphql('{ user(userId: "ada") { memories(first: 100) { nodes { content rating } } } }')["user"]
    rated = {node["content"]: node["rating"] for node in nodes["memories"]["nodes"]}
    assert rated == {
        **{f"Fact {n}": rating for n, rating in enumerate([0.9, 0.0, 1.0, *[0.5] * 6])},
        "Unrated": 0.5,
        "A summary.": 0.5,
    }
    assert said(ada, minRating=0.6) == ["Fact 0", "Fact 2"]
    assert '"rating": 0.0 to 1.0' in model.asked[0].body["messages"][0]["content"]


def test_the_applications_instructions_reach_the_model_and_leave_the_form_of_its_answer(
    start: Start, model: ModelServer
) -> None:
    own = 'Remember {only} allergies, rated 1. Answer with "OK".'
    server = start(**settings_for(model, chat_instructions=f"\n{own}\n"))
    server.accepted(CREATE_USER, userId="ada")
    add(server, "one")
    done(server)
    told = model.asked[0].body["messages"][0]["content"]
    assert told.count(own) == 1
    assert told.index("You keep the long-term memory") < told.index(own) < told.index("Answer with one JSON object")
    assert said(server) == ["It was said: one"]


def test_a_model_may_replace_what_was_formed_but_not_what_was_declared(ada: Server, model: ModelServer) -> None:
    ada.accepted(CREATE_MEMORY, userId="ada", kind="FACT", content="Plan: free")
    add(ada, "I live in Turin.")
    done(ada)
    numbers = {}

    def replace(body: Json) -> str:
        for memory in shown(body)["memories"]:
            numbers[memory["content"]] = memory.get("number")
        old = [numbers["I live in Turin"], numbers["It was said: I live in Turin."]]
        return answer(fact("Ada lives in Milan.", 2, replaces=old))

    model.chat = replace
    add(ada, "Off to Milan for good!")
    done(ada)
    assert numbers["Plan: free"] is None
    assert said(ada) == ["Plan: free", "Ada lives in Milan."]
    assert [memory["supersededBy"] for memory in known(ada, history=True)][1:3] == [
        {"content": "Ada lives in Milan."}
    ] * 2


def test_a_model_is_told_who_speaks_and_says_whom_a_memory_is_about(ada: Server, model: ModelServer) -> None:
    ada.accepted(UPDATE_USER, userId="ada", name="Ada")
    said = [("Ada", "I sail."), ("Bob", "I dive."), ("user", "We met in Turin."), ("Eve", "I sing.")]
    messages = [{"role": "USER", "name": name, "content": content} for name, content in said]
    messages.append({"role": "ASSISTANT", "name": "Bot", "content": "Bob dives, then."})

    def attributed(body: Json) -> str:
        return answer(
            fact("Sails.", 1, about="Bob"),
            fact("Dives.", 2),
            fact("Met Bob in Turin.", 2, 3, about="bob"),
            fact("Met in Turin.", 2, 3),
            fact("Dives well.", 5, about="Bob"),
            fact("Sings.", 4, about="Nobody"),
            fact("Dives deep.", 5, about="Nobody"),
        )

    model.chat = attributed
    ada.accepted(ADD, sessionId="chat", userId="ada", messages=messages)
    done(ada)
    turns = shown(model.asked[0].body)["messages"]
    assert [(turn.get("name"), turn.get("speaker")) for turn in turns] == [
        ("Ada", None),
        (None, "Bob"),
        ("user", None),
        (None, "Eve"),
        ("Bot", None),
    ]
    assert [(memory["content"], memory["about"]) for memory in known(ada)] == [
        ("Sails.", None),
        ("Dives.", "Bob"),
        ("Met Bob in Turin.", "Bob"),
        ("Met in Turin.", None),
        ("Dives well.", "Bob"),
        ("Sings.", "Eve"),
        ("Dives deep.", None),
    ]


def test_a_model_replaces_only_what_is_about_the_same_person(ada: Server, model: ModelServer) -> None:
    ada.accepted(UPDATE_USER, userId="ada", name="Ada")
    model.chat = lambda body: answer()
    messages = [{"role": "USER", "name": name, "content": "I live in Turin."} for name in ("Ada", "Bob")]
    ada.accepted(ADD, sessionId="chat", userId="ada", messages=messages)
    done(ada)

    def replace(body: Json) -> str:
        numbers = [memory["number"] for memory in shown(body)["memories"]]
        assert sorted(memory.get("about", "") for memory in shown(body)["memories"]) == ["", "Bob"]
        return answer(fact("Bob lives in Rome.", shown(body)["messages"][0]["sequence"], replaces=numbers))

    model.chat = replace
    messages = [{"role": "USER", "name": "Bob", "content": "Off to Rome!"}]
    ada.accepted(ADD, sessionId="chat", messages=messages)
    done(ada)
    assert [(memory["content"], memory["about"]) for memory in known(ada)] == [
        ("I live in Turin", None),
        ("Bob lives in Rome.", "Bob"),
    ]


def test_what_is_known_is_not_stored_twice(ada: Server, model: ModelServer) -> None:
    model.chat = lambda body: answer(fact("Ada has a boat.", shown(body)["messages"][0]["sequence"]))
    add(ada, "A boat!")
    done(ada)
    model.chat = lambda body: answer(fact("ada has a  boat", shown(body)["messages"][0]["sequence"]))
    add(ada, "Yes, a boat.", session="other")
    done(ada)
    (memory,) = known(ada, history=True)
    assert memory["content"] == "Ada has a boat."
    assert len(memory["sources"]["nodes"]) == 2


def test_a_declared_summary_stands(ada: Server, model: ModelServer) -> None:
    add(ada, "one")
    done(ada)
    ada.accepted(CREATE_MEMORY, sessionId="chat", kind="SUMMARY", content="Mine.")
    add(ada, "two")
    done(ada)
    assert summary(ada) == "Mine."
    assert shown(model.asked[-1].body)["summary"] == "Mine."


FAILURES = {
    "a fault": Reply(500),
    "too many": Reply(429, headers={"retry-after": "0"}),
    "no answer in time": Reply(pause=2.5),
    "a broken connection": Reply(body=None),
    "no JSON": Reply(body=b"<html>"),
    "no completion": Reply(body=b'{"choices": []}'),
    "too large": Reply(body=b'"' + b"x" * 1_100_000 + b'"'),
    "no text": Reply(body=b'{"choices": [{"message": {"content": null}}]}'),
    "cut off": Reply(body=b'{"choices": [{"message": {"content": "{}"}, "finish_reason": "length"}]}'),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_attempt_is_made_again(ada: Server, model: ModelServer, failure: str) -> None:
    model.next.append(FAILURES[failure])
    add(ada, "one")
    done(ada)
    assert said(ada) == ["It was said: one"]
    assert len(model.asked) == 2


BAD_ANSWERS = {
    "prose": "Of course! Here it is.",
    "a list": "[]",
    "no memories": "{}",
    "a foreign source": answer(fact("x", 7)),
    "no source": answer(fact("x")),
    "a source that is a text": answer({"kind": "FACT", "content": "x", "sources": ["1"]}),
    "an unknown kind": answer({"kind": "SECRET", "content": "x", "sources": [1]}),
    "a summary as a memory": answer({"kind": "SUMMARY", "content": "x", "sources": [1]}),
    "empty content": answer(fact("  ", 1)),
    "long content": answer(fact("x" * 1001, 1)),
    "a zero character": answer(fact("x\0", 1)),
    "a lone surrogate": answer(fact("x\ud800", 1)),
    "too many": answer(*[fact(f"x{n}", 1) for n in range(51)]),
    "replacing what is not there": answer(fact("x", 1, replaces=[3])),
    "a long summary": answer(summary="x" * 4001),
    "a summary that can't be kept": answer(summary="x\0"),
    "a number for a summary": json.dumps({"memories": [], "summary": 5}),
}


@pytest.mark.parametrize("bad", BAD_ANSWERS)
def test_an_answer_that_is_wrong_in_anything_is_a_failed_attempt(ada: Server, model: ModelServer, bad: str) -> None:
    given = [BAD_ANSWERS[bad]]
    model.chat = lambda body: given.pop() if given else echo(body)
    add(ada, "one")
    done(ada)
    assert said(ada, history=True) == ["It was said: one"]
    assert len(model.asked) == 2


@pytest.mark.parametrize("form", ["```json\n{}\n```", "```\n{}\n```", "<think>Hm {{}}</think>\n{}", "  {}\n"])
def test_json_that_is_set_off_is_taken(ada: Server, model: ModelServer, form: str) -> None:
    model.chat = lambda body: form.format(echo(body))
    add(ada, "one")
    done(ada)
    assert len(model.asked) == 1


def test_a_job_that_failed_for_good_is_visible_and_can_be_done_again(ada: Server, model: ModelServer) -> None:
    model.always = Reply(401, json.dumps({"error": {"message": KEY, "code": "invalid_api_key"}}).encode())
    with capture_logs() as logs:
        add(ada, "one")
        job = wait_until(lambda: [job for job in jobs(ada) if job["status"] == "FAILED"])[0]
        add(ada, "two", session="other")
        wait_until(lambda: [job["status"] for job in jobs(ada)] == ["FAILED"] * 2)
    assert (job["attempts"], job["error"]) == (1, "HTTP 401 (invalid_api_key)")
    assert [entry["log_level"] for entry in logs if "can't be asked" in entry["event"]] == ["warning"]
    assert KEY not in json.dumps(logs)
    ready = ada.client.get(f"{ada.base}/ready")
    assert (ready.status_code, ready.json()["models"]["chat"]["status"]) == (200, "unavailable")
    listed = command(ada)
    assert "'chat'  FAILED  1 unread, 1 attempts: HTTP 401 (invalid_api_key)" in listed
    model.always = None
    assert command(ada, "retry", job["session_key"].hex()) == "1 to be done again\n"
    wait_until(lambda: len(jobs(ada)) == 1)
    assert command(ada, "retry", "--all") == "1 to be done again\n"
    done(ada)
    assert said(ada) == ["It was said: one", "It was said: two"]
    assert ada.client.get(f"{ada.base}/ready").json()["models"]["chat"]["status"] == "ready"
    assert command(ada) == ""


def test_an_import_has_its_messages_read_by_the_server(ada: Server, model: ModelServer, tmp_path: Path) -> None:
    lines: list[Json] = [{"type": "session", "sessionId": "old", "userId": "ada"}]
    lines += [{"type": "message", "sessionId": "old", "role": "USER", "content": f"turn {n}"} for n in range(3)]
    (tmp_path / "old.ndjson").write_text("\n".join(json.dumps(line) for line in lines))
    with (tmp_path / "old.ndjson").open("rb") as file:
        import_file(file, Settings(database_url=ada.place.url, **settings_for(model)), size=None)
    done(ada)
    assert len(known(ada)) == 3


def test_attempts_have_an_end(ada: Server, model: ModelServer) -> None:
    model.always = Reply(500)
    add(ada, "one")
    job = wait_until(lambda: [job for job in jobs(ada) if job["status"] == "FAILED"])[0]
    assert (job["attempts"], job["error"], len(model.asked)) == (8, "HTTP 500", 8)


def test_a_failed_job_gets_another_chance_with_new_messages(ada: Server, model: ModelServer) -> None:
    model.next.append(Reply(404))
    add(ada, "one")
    wait_until(lambda: [job for job in jobs(ada) if job["status"] == "FAILED"])
    add(ada, "two")
    done(ada)
    assert said(ada) == ["It was said: one", "It was said: two"]


def test_a_failed_job_gets_another_chance_with_an_edit_of_what_it_has_not_read(ada: Server, model: ModelServer) -> None:
    model.next.append(Reply(404))
    (id,) = add(ada, "one")
    wait_until(lambda: [job for job in jobs(ada) if job["status"] == "FAILED"])
    ada.accepted(UPDATE_MESSAGE, id=id, content="two")
    done(ada)
    assert said(ada) == ["It was said: two"]


def test_who_asks_for_a_pause_gets_it(ada: Server, model: ModelServer) -> None:
    model.next.append(Reply(429, headers={"retry-after": "3000"}))
    add(ada, "one")
    job = wait_until(lambda: [job for job in jobs(ada) if job["error"]])[0]
    assert (job["status"], job["error"]) == ("PENDING", "HTTP 429")
    assert job["due"] > time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 2900))


def test_what_is_edited_while_the_model_reads_is_read_again(ada: Server, model: ModelServer) -> None:
    model.hold.clear()
    first, _ = add(ada, "We sail on Monday.", "The boat is red.")
    model.wait_for(1)
    ada.accepted(UPDATE_MESSAGE, id=first, content="We sail on Tuesday.")
    model.hold.set()
    done(ada)
    assert sorted(said(ada, history=True)) == ["It was said: The boat is red.", "It was said: We sail on Tuesday."]
    assert "Monday" not in str(ada.tables()["memories"])
    assert len(model.asked) == 2


def test_metadata_that_changes_while_the_model_reads_spoils_nothing(ada: Server, model: ModelServer) -> None:
    model.hold.clear()
    (id,) = add(ada, "We sail on Monday.")
    model.wait_for(1)
    ada.accepted(UPDATE_MESSAGE, id=id, metadata={"seen": True})
    model.hold.set()
    done(ada)
    assert said(ada) == ["It was said: We sail on Monday."]
    assert len(model.asked) == 1


def test_what_is_edited_later_is_read_again_with_what_the_summary_rests_on(ada: Server, model: ModelServer) -> None:
    first, *_ = add(ada, "We sail on Monday.", "The boat is red.", "It leaks.")
    done(ada)
    ada.accepted(UPDATE_MESSAGE, id=first, content="We sail on Tuesday.")
    done(ada)
    again = shown(model.asked[1].body)
    assert [turn["content"] for turn in again["messages"]] == ["We sail on Tuesday.", "The boat is red.", "It leaks."]
    assert [memory["content"] for memory in again["memories"]] == [
        "It was said: It leaks.",
        "It was said: The boat is red.",
    ]
    assert (again["before"], again["summary"]) == ([], None)
    assert summary(ada) == "3 turns, the last It leaks."
    assert sorted(said(ada, history=True)) == [
        "It was said: It leaks.",
        "It was said: The boat is red.",
        "It was said: We sail on Tuesday.",
    ]


def test_what_no_summary_rests_on_is_read_again_alone(ada: Server, model: ModelServer) -> None:
    model.chat = lambda body: echo(body).replace('"summary"', '"none"')
    first, *_ = add(ada, "We sail on Monday.", "The boat is red.", "It leaks.")
    done(ada)
    ada.accepted(UPDATE_MESSAGE, id=first, content="We sail on Tuesday.")
    done(ada)
    assert [turn["content"] for turn in shown(model.asked[1].body)["messages"]] == ["We sail on Tuesday."]
    assert [turn["content"] for turn in shown(model.asked[1].body)["before"]] == ["The boat is red.", "It leaks."]
    assert "It was said: We sail on Monday." not in said(ada, history=True)
    assert "It was said: We sail on Tuesday." in said(ada)


def test_what_is_deleted_while_the_model_reads_leaves_nothing(ada: Server, model: ModelServer) -> None:
    model.hold.clear()
    first, _ = add(ada, "We sail on Monday.", "The boat is red.")
    model.wait_for(1)
    ada.accepted(DELETE_MESSAGE, id=first)
    model.hold.set()
    done(ada)
    assert said(ada, history=True) == ["It was said: The boat is red."]
    assert summary(ada) is None


def test_no_summary_tells_what_was_deleted_while_the_model_read_it(ada: Server, model: ModelServer) -> None:
    model.chat = lambda body: answer(summary=f"It was said: {shown(body)['before']} {shown(body)['summary']}")
    first, *_ = add(ada, "We sail on Monday.")
    done(ada)
    model.hold.clear()
    add(ada, "The boat is red.")
    model.wait_for(2)
    ada.accepted(DELETE_MESSAGE, id=first)
    model.hold.set()
    done(ada)
    assert "Monday" in json.dumps(model.asked[1].body)
    assert "Monday" not in str(ada.tables()["memories"])


@pytest.mark.parametrize("way", ["erasure", "soft deletion", "permanent deletion"])
def test_nothing_arrives_after_a_deletion(ada: Server, model: ModelServer, way: str) -> None:
    model.hold.clear()
    add(ada, "We sail on Monday.")
    model.wait_for(1)
    if way == "erasure":
        ada.accepted(DELETE_USER, userId="ada")
    else:
        ada.accepted(DELETE_SESSION, sessionId="chat", permanently=way == "permanent deletion")
    assert jobs(ada) == []
    if way == "erasure":
        ada.accepted(CREATE_USER, userId="ada")
    add(ada, "Hello again.")
    model.hold.set()
    done(ada)
    assert said(ada, history=True) == ["It was said: Hello again."]


def test_a_session_that_changes_its_owner_meanwhile_is_read_anew(ada: Server, model: ModelServer) -> None:
    ada.accepted(CREATE_USER, userId="bo")
    ada.accepted(CREATE_MEMORY, userId="ada", kind="FACT", content="Ada's own")
    model.hold.clear()
    add(ada, "one")
    model.wait_for(1)
    ada.accepted(UPDATE_SESSION, sessionId="chat", userId="bo")
    model.hold.set()
    done(ada)
    assert [memory["content"] for memory in shown(model.asked[0].body)["memories"]] == ["Ada's own"]
    assert shown(model.asked[1].body)["memories"] == []
    assert said(ada) == ["Ada's own"]


@pytest.mark.parametrize("way", ["a rename", "a merge"])
def test_what_is_read_during_a_rename_or_a_merge_is_read_anew(ada: Server, model: ModelServer, way: str) -> None:
    model.hold.clear()
    add(ada, "one")
    model.wait_for(1)
    if way == "a rename":
        ada.accepted(mutation("renameUser", "user { id }"), userId="ada", newUserId="bo")
    else:
        ada.accepted(CREATE_USER, userId="bo")
        ada.accepted(mutation("mergeUsers", "user { id }"), fromUserId="ada", intoUserId="bo")
    model.hold.set()
    done(ada)
    facts = '{ user(userId: "bo") { memories(filter: {kinds: [FACT]}) { nodes { content } } } }'
    assert ada.graphql(facts)["user"]["memories"]["nodes"] == [{"content": "It was said: one"}]
    assert len(model.asked) == 2


def test_a_stopped_server_gives_its_jobs_back(model: ModelServer, place: Place) -> None:
    first = Server(place, **settings_for(model, chat_timeout=600))
    first.accepted(CREATE_USER, userId="ada")
    model.hold.clear()
    add(first, "one")
    model.wait_for(1)
    first.close()
    model.hold.set()
    second = Server(place, **settings_for(model, chat_timeout=600))
    try:
        done(second)
        assert said(second) == ["It was said: one"]
    finally:
        second.close()


def in_process(model: ModelServer) -> dict[str, str]:
    return {f"RECALLQL_{name.upper()}": str(value) for name, value in settings_for(model, chat_timeout=1.0).items()}


def test_a_killed_server_loses_no_job_and_does_none_twice(model: ModelServer, serve: Serve) -> None:
    server = serve(env=in_process(model))
    server.accepted(CREATE_USER, userId="ada")
    model.hold.clear()
    add(server, "one", "two")
    model.wait_for(1)
    server.process.send_signal(signal.SIGKILL)
    server.wait()
    model.hold.set()
    again = serve(place=server.place, env=in_process(model))
    done(again)
    assert said(again, history=True) == ["It was said: one", "It was said: two"]
    assert len(model.asked) == 2
    assert KEY not in server.output() + again.output()


def test_two_workers_share_the_jobs(model: ModelServer, serve: Serve) -> None:
    server = serve("--workers", "2", env=in_process(model))
    server.accepted(CREATE_USER, userId="ada")
    for n in range(12):
        add(server, f"turn {n}", session=f"s{n}")
    done(server)
    assert sorted(said(server, history=True)) == sorted(f"It was said: turn {n}" for n in range(12))
    assert len(model.asked) == 12


def test_a_claim_that_ran_out_writes_nothing(ada: Server, model: ModelServer, tmp_path: Path) -> None:
    """A second server takes the job over while the first one still waits for its answer."""
    model.hold.clear()
    add(ada, "one")
    model.wait_for(1)
    other = Server(ada.place, **settings_for(model, chat_timeout=30))
    try:
        # The first one's question is given up after 2 seconds, the claim runs out after 4; here sooner.
        ada.host.wait_for(_run_out(ada))
        model.wait_for(2)
        model.hold.set()
        done(ada)
        assert said(ada, history=True) == ["It was said: one"]
    finally:
        other.close()


async def _run_out(server: Server) -> None:
    database = server.app.state.database
    run_out = Statement(update(tables.jobs).values(due_at="2000-01-01T00:00:00"))
    await database.write(lambda write: write.execute(run_out, {}))


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"chat_base_url": "api.openai.com/v1"}, "https://"),
        ({"chat_base_url": "ftp://models.example/v1"}, "https://"),
        ({"chat_base_url": "https://me:pw@models.example/v1"}, "password"),
        ({"chat_base_url": "https://models.example/v1", "chat_model": ""}, "chat_model"),
        ({"chat_api_key": "sk 1"}, "visible"),
        ({"chat_api_key": "sk\n"}, "visible"),
        ({"chat_instructions": "x" * (16 * 1024 + 1)}, "at most 16384"),
        ({"chat_instructions": "\udc80"}, "surrogate"),
    ],
)
def test_settings_of_a_model_are_checked(wrong: dict[str, str], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        Settings(**{"chat_model": "small", **wrong})  # type: ignore[arg-type]


def test_a_model_needs_an_http_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recallql.settings.find_spec", lambda name: None)
    with pytest.raises(ValidationError, match=r"recallql\[model\]"):
        Settings(chat_base_url="http://models.example/v1", chat_model="small")
