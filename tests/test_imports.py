"""Imports: what a line is, in whatever order lines come, however often, and whatever interrupts them."""

import contextlib
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import recallql.commands.archive
from recallql.commands.lines import LineReader
from recallql.settings import Settings
from tests.archives import Command, Line, copied, counts, fill, kept, mutate, said, say, serving, write
from tests.commands import environment
from tests.documents import ADD_MESSAGES
from tests.places import Fresh, Place, Places
from tests.servers import START_SECONDS, Server

SKIPPED = 3


def message(content: str, session: str = "s", **fields: Any) -> Line:
    return {"type": "message", "sessionId": session, "role": "USER", "content": content, **fields}


def at(second: int) -> str:
    return f"2024-03-01T12:{second // 60:02}:{second % 60:02}Z"


def took(command: Command, place: Place, file: Path, lines: list[Line], *arguments: str | Path) -> str:
    """Imports lines, and returns the output."""
    done = command("import", write(file, lines), *arguments, *place.option)
    assert done.status == 0, done.err
    return done.out


def exported(command: Command, place: Place, *arguments: str) -> list[Line]:
    done = command("export", *arguments, *place.option)
    assert done.status == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def comparable(lines: list[Line]) -> list[str]:
    """Lines without what the server makes up or takes from its clock, in an order of their own."""
    for line in lines:
        formed = line["type"] == "memory" and line["method"] != "DECLARED"
        for name in ("id", "key", "updatedAt", "supersededBy", *(["createdAt"] if formed else [])):
            line.pop(name, None)
    return sorted(json.dumps(line, sort_keys=True) for line in lines)


# Identity


def test_the_next_days_export_of_a_session_adds_its_new_messages(
    place: Place, tmp_path: Path, command: Command
) -> None:
    day = [message(f"day {n}", createdAt=at(n)) for n in range(8)]
    assert "5 messages" in took(command, place, tmp_path / "1", day[:5])
    # It starts later, and ends later.
    assert "3 messages; 2 were there" in took(command, place, tmp_path / "2", day[3:])
    with serving(place) as api:
        assert kept(api, "s") == [f"day {n}" for n in range(8)]


def test_equal_lines_are_as_many_messages(place: Place, tmp_path: Path, command: Command) -> None:
    again = [message("Yes.", createdAt=at(0))] * 2
    others = [message("Yes.", createdAt=at(1)), message("Yes.", createdAt=at(0), role="ASSISTANT")]
    others += [message("Yes.", createdAt=at(0), name="bo"), message("Yes.", createdAt=at(0), session="t")]
    others += [message("", createdAt=at(0), role="ASSISTANT", toolCalls=[{"id": id}]) for id in "ab"]
    assert "8 messages" in took(command, place, tmp_path / "1", [*again, *others])
    assert "nothing; 8 were there" in took(command, place, tmp_path / "2", [*others[::-1], *again])
    assert "1 message; 2 were there" in took(command, place, tmp_path / "3", [*again, again[0]])
    assert counts(place)["messages"] == 9


def test_what_a_line_says_besides_does_not_make_it_another_one(place: Place, tmp_path: Path, command: Command) -> None:
    took(command, place, tmp_path / "1", [message("Yes.", createdAt="2024-03-01T12:00:00Z")])
    said_so = message("Yes.", createdAt="2024-03-01T13:00:00+01:00", metadata={"a": 1}, tokenCount=7)
    assert "nothing; 1 was there" in took(command, place, tmp_path / "2", [said_so])


def test_a_message_that_the_api_has_kept_is_not_imported_again(
    server: Server, tmp_path: Path, command: Command
) -> None:
    told = [{"role": "USER", "content": text, "createdAt": at(n)} for n, text in enumerate(["a", "b", "b"])]
    server.accepted(ADD_MESSAGES, sessionId="s", messages=told)
    lines = [message("a", createdAt=at(0)), *[message("b", createdAt=at(1))] * 2, message("b", createdAt=at(2))]
    for n, words in enumerate(("1 message; 3 were", "nothing; 4 were")):
        assert words in took(command, server.place, tmp_path / f"{n}", lines)
    assert len(kept(server, "s")) == 4


def test_a_message_without_ids_that_was_deleted_stays_deleted(server: Server, tmp_path: Path, command: Command) -> None:
    lines = [message(f"{n}", createdAt=at(n)) for n in range(3)] + [message(f"{n}", session="t") for n in range(3)]
    took(command, server.place, tmp_path / "1", lines)
    for session in "st":
        query = "query ($s: String!) { session(sessionId: $s) { messages { nodes { id content } } } }"
        nodes = server.graphql(query, s=session)["session"]["messages"]["nodes"]
        mutate(server, "updateMessage", "message { id }", id=nodes[0]["id"], content="edited")
        mutate(server, "deleteMessage", "deletedMessageId", id=nodes[1]["id"])
    assert "nothing; 6 were there" in took(command, server.place, tmp_path / "2", lines)
    assert kept(server, "s") == kept(server, "t") == ["edited", "2"]


def test_lines_without_a_time_are_matched_by_position_which_is_said_once(
    place: Place, tmp_path: Path, command: Command
) -> None:
    lines = [message(f"{n}") for n in range(3)]
    done = command("import", write(tmp_path / "1", lines), *place.option)
    assert done.err.count("position") == 1
    assert "1 message; 3 were there" in took(command, place, tmp_path / "2", [*lines, message("3")])
    assert (
        "position" not in command("import", write(tmp_path / "3", [message("x", createdAt=at(0))]), *place.option).err
    )
    # A part of the session would be taken for its beginning.
    failed = command("import", write(tmp_path / "4", lines[1:]), *place.option)
    assert failed.status == 1
    words = failed.err
    assert 'line 1: messageId: Another message has this position (1) in the session: message 1 of session "s"' in words


def test_a_message_without_a_time_follows_those_before_it(place: Place, tmp_path: Path, command: Command) -> None:
    lines = [message("c", createdAt=at(3)), message("d"), message("a", createdAt=at(1)), message("e")]
    took(command, place, tmp_path / "1", [message("0"), *lines, message("b", createdAt=at(2))])
    with serving(place) as api:
        assert kept(api, "s") == ["0", "a", "b", "c", "d", "e"]


def test_a_project_needs_a_name(place: Place, tmp_path: Path, command: Command) -> None:
    for name in ("", "x" * 513):
        words = said(command("import", write(tmp_path / "1", [message("x")]), "--project", name, *place.option))
        assert "project" in words


COLLISIONS: list[tuple[list[Line], str]] = [
    ([message("b", messageId="m")], 'line 1: messageId: .*message 1 of session "s", USER "a"'),
    ([message("b", sequence=1)], 'line 1: sequence: .*message 1 of session "s", USER "a"'),
    ([message("b", sequence=9, messageId="m")], 'line 1: messageId: .*message 1 of session "s", USER "a"'),
    ([message("b", sequence=5), message("c", sequence=5)], "line 2: sequence: .* from line 1"),
    ([message("b", messageId="x"), message("c", messageId="x")], 'line 2: messageId: .* session "s" .* from line 1'),
    ([{"type": "session", "sessionId": "s", "userId": "bo"}], 'line 1: userId: .*"s" belongs to the user "ada"'),
    (
        [{"type": "memory", "userId": "ada", "memoryId": "y", "kind": "FACT", "content": "other"}],
        'line 1: memoryId: .*"a fact"',
    ),
    (
        [{"type": "document", "userId": "ada", "documentId": "d", "title": "t", "content": "other"}],
        'line 1: documentId: .*"a text"',
    ),
]
THERE: list[Line] = [
    {"type": "user", "userId": "ada"},
    {"type": "user", "userId": "bo"},
    {"type": "session", "sessionId": "s", "userId": "ada"},
    message("a", messageId="m"),
    {"type": "memory", "userId": "ada", "memoryId": "y", "kind": "FACT", "content": "a fact"},
    {"type": "document", "userId": "ada", "documentId": "d", "title": "t", "content": "a text"},
]


@pytest.mark.parametrize(("lines", "words"), COLLISIONS)
def test_a_conflict_names_the_line_and_what_it_collides_with(
    lines: list[Line], words: str, place: Place, tmp_path: Path, command: Command
) -> None:
    took(command, place, tmp_path / "there", THERE)
    before = place.tables()
    assert re.search(words, said(command("import", write(tmp_path / "1", lines), *place.option)))
    assert place.tables() == before
    skipping = command("import", tmp_path / "1", "--skip-bad", tmp_path / "bad", *place.option)
    assert (skipping.status, (tmp_path / "bad").read_text()) == (SKIPPED, json.dumps(lines[-1]) + "\n")
    assert re.search(words, skipping.err)


def test_a_retry_of_what_was_changed_since_is_recognised_after_an_import(
    server: Server, fresh: Fresh, tmp_path: Path, command: Command
) -> None:
    took(command, server.place, tmp_path / "1", THERE)
    found = server.graphql('{ user(userId: "ada") { memories { nodes { id } } documents { nodes { id } } } }')["user"]
    mutate(server, "updateMemory", "memory { id }", id=found["memories"]["nodes"][0]["id"], content="changed")
    mutate(server, "updateDocument", "document { id }", id=found["documents"]["nodes"][0]["id"], content="changed")
    with serving(copied(command, server.place, tmp_path, fresh)) as other:
        assert "nothing; 6 were there" in took(command, other.place, tmp_path / "1", THERE)
        memory = mutate(
            other, "createMemory", "memory { id content }", memoryId="y", userId="ada", kind="FACT", content="a fact"
        )
        assert memory["memory"] == {"id": found["memories"]["nodes"][0]["id"], "content": "changed"}


# Order and interruption


def conversation() -> list[Line]:
    """Every kind of line, each with the times that the server would make up."""
    lines: list[Line] = [{"type": "user", "userId": id, "name": id, "createdAt": at(n)} for n, id in enumerate("ab")]
    lines += [{"type": "agent", "agentId": "x", "name": "X", "createdAt": at(3)}]
    lines += [{"type": "document", "userId": "a", "documentId": "d", "title": "t", "content": "c", "createdAt": at(4)}]
    for n, user in enumerate("ab"):
        times = {"createdAt": at(n), "lastActivityAt": at(100 + n)}
        more = {"situation": "at sea", "metadata": {"n": n}, "agentId": "x", "tokenBudget": 9}
        lines.append({"type": "session", "sessionId": f"s{n}", "userId": user, **times, **more})
        texts = ["I live in Turin.", "Ok.", "Ok.", "I live in Rome."]
        lines += [message(text, f"s{n}", createdAt=at(10 + i)) for i, text in enumerate(texts)]
        lines += [message("Ok.", f"s{n}", createdAt=at(11))]
    lines += [message(f"{i}", "s0", messageId=f"m{i}", createdAt=at(20 + i)) for i in range(2)]
    lines += [message(f"{i}", "s2", sequence=i, createdAt=at(20 - i)) for i in (1, 2)]
    lines += [{"type": "session", "sessionId": "s2", "createdAt": at(1), "lastActivityAt": at(5), "endedAt": at(6)}]
    lines += [message("Be brief.", "s1", role="developer", createdAt="2024-03-01T17:30:40+05:30")]
    lines += [message("", "s1", parts=[{"type": "text", "text": "I like tea."}], createdAt="2024-03-01T07:00:41-05:00")]
    lines += [message("I live in Oslo.", "s1", name="Carol", createdAt=at(42))]
    fact = {"type": "memory", "kind": "FACT", "createdAt": at(30)}
    lines += [{**fact, "userId": "b", "memoryId": "z", "content": "sings", "about": "Carol", "rating": 0.5}]
    lines += [{**fact, "userId": "a", "memoryId": "y", "content": "f", "sources": [{"sessionId": "s0", "sequence": 1}]}]
    lines += [{**fact, "sessionId": "s1", "content": "g", "sources": [{"sessionId": "s1", "sequence": 2}]}]
    return lines


LINES = conversation()
NUMBER = len(LINES)


class Cut(Exception):
    """An import ends here."""


@pytest.fixture(scope="module")
def clean(places: Places, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The result of one run with the lines above."""
    return imported(places, tmp_path_factory.mktemp("clean"), LINES, cut=None)


def imported(places: Places, folder: Path, lines: list[Line], *, cut: int | None) -> list[str]:
    """An export after lines were imported, in two runs if the first ends after so many lines."""
    file = write(folder / "in.ndjson", lines)
    with places.lent(folder) as place:
        options = Settings(database_url=place.url)  # pyright: ignore[reportCallIssue]
        import_in_two_runs(file, options, cut)
        out = folder / "out.ndjson"
        with out.open("wb") as opened:
            recallql.commands.archive.export_file(opened, options)
    return comparable([json.loads(line) for line in out.read_bytes().splitlines()])


def import_in_two_runs(file: Path, options: Settings, cut: int | None) -> None:
    index = recallql.commands.archive._index
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recallql.commands.archive, "BATCH", 1)
        calls = 0

        async def index_or_end(target: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == cut:
                raise Cut
            await index(target)

        if cut is not None:
            patch.setattr(recallql.commands.archive, "_index", index_or_end)
            with contextlib.suppress(Cut), file.open("rb") as opened:
                recallql.commands.archive.import_file(opened, options, size=None)
            patch.setattr(recallql.commands.archive, "_index", index)
            patch.setattr(recallql.commands.archive, "BATCH", 7)
        with file.open("rb") as opened:
            recallql.commands.archive.import_file(opened, options, size=None)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(NUMBER)), cut=st.none() | st.integers(1, NUMBER))
def test_the_order_of_lines_and_an_interruption_make_no_difference(
    order: list[int], cut: int | None, clean: list[str], places: Places, tmp_path: Path
) -> None:
    assert len(clean) >= NUMBER
    for kept_as_sent in ("2024-03-01T17:30:40+05:30", '"DEVELOPER"', '"about": "Carol"', '"parts": ['):
        assert any(kept_as_sent in line for line in clean)
    assert imported(places, tmp_path, [LINES[n] for n in order], cut=cut) == clean


KILLED = """
import os, signal
from recallql.commands import archive
from recallql.commands.cli import main

batches = archive._File.batches

def some(lines):
    for number, batch in enumerate(batches(lines)):
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        yield batch

archive._File.batches = some
main()
"""
"""The command that is killed before its third batch."""


def test_a_killed_import_is_completed_by_a_second_run(
    fresh: Fresh, place: Place, tmp_path: Path, command: Command
) -> None:
    lines: list[Line] = [{"type": "user", "userId": f"u{n}", "createdAt": at(n)} for n in range(50)]
    told = [message(f"{n}", f"s{n % 50:02}", createdAt=at(n)) for n in range(2000)]
    times = {"createdAt": at(0), "lastActivityAt": at(9)}
    sessions = [
        {
            "type": "session",
            "sessionId": f"s{n:02}",
            "userId": f"u{n}",
            "situation": f"{n}",
            "metadata": {"n": n},
            **times,
        }
        for n in range(50)
    ]
    # The sessions come last of all.
    file = write(tmp_path / "in.ndjson", told + lines + sessions)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, "import", str(file), *place.option],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=START_SECONDS,
    )
    assert killed.returncode == -signal.SIGKILL
    assert 0 < counts(place)["messages"] < 2000
    assert command("import", file, *place.option).status == 0
    other = fresh()
    assert command("import", file, *other.option).status == 0
    assert comparable(exported(command, place)) == comparable(exported(command, other))
    ends = [line for line in exported(command, place) if line["type"] == "session"]
    assert [(line["userId"], line["situation"], line["metadata"]) for line in ends] == [
        (f"u{n}", f"{n}", {"n": n}) for n in range(50)
    ]


def test_the_activity_of_a_line_is_kept_with_its_messages(place: Place, tmp_path: Path, command: Command) -> None:
    session = {"type": "session", "sessionId": "s", "lastActivityAt": at(50)}
    lines = [message("a", createdAt=at(10)), session, message("b", createdAt=at(20)), message("c", messageId="c")]
    took(command, place, tmp_path / "1", lines)

    def activity() -> str:
        return next(line["lastActivityAt"] for line in exported(command, place) if line["type"] == "session")

    assert activity() == at(50)
    later = [{**session, "lastActivityAt": at(90)}, message("d", createdAt=at(80))]
    took(command, place, tmp_path / "2", later)
    assert activity() == at(90)
    with serving(place) as api:
        say(api, "s", "now")
    now = activity()
    assert now > at(90)
    took(command, place, tmp_path / "3", [*lines, *later])
    assert activity() == now


# How other systems write


def test_roles_and_times_of_other_systems_are_read(place: Place, tmp_path: Path, command: Command) -> None:
    times: list[tuple[Any, str]] = [
        ("2024-03-01 12:00:00.123456+00", "2024-03-01T12:00:00.123456"),
        ("2024-03-01 12:00:00+05:30", "2024-03-01T06:30:00"),
        ("2024-03-01 12:00:00-08", "2024-03-01T20:00:00"),
        ("2024-03-01 12:00:00+0200", "2024-03-01T10:00:00"),
        ("2024-03-01 12:00:00 UTC", "2024-03-01T12:00:00"),
        ("2024-03-01T12:00:00.5+01:00", "2024-03-01T11:00:00.500000"),
        (1709294400, "2024-03-01T12:00:00"),
        (1709294400.25, "2024-03-01T12:00:00.250000"),
        (1709294400123, "2024-03-01T12:00:00.123000"),
        (0, "1970-01-01T00:00:00"),
    ]
    lines = [message("x", f"s{n}", role="user", createdAt=time) for n, (time, _) in enumerate(times)]
    took(command, place, tmp_path / "1", [*lines, {**message("x", "t"), "role": "Assistant"}])
    found = place.query(
        "SELECT role, m.created_at FROM messages m JOIN sessions s ON s.key = session_key ORDER BY session_id"
    )
    assert found[:-1] == [("USER", expected) for _, expected in times]
    assert found[-1][0] == "ASSISTANT"
    memory = {"type": "memory", "sessionId": "t", "kind": "fact", "content": "c", "validFrom": 1709294400}
    session = {"type": "session", "sessionId": "u", "contextOverflow": "truncate", "lastActivityAt": 1709294400000}
    took(command, place, tmp_path / "2", [memory, session])
    assert "nothing" in took(command, place, tmp_path / "3", [{**memory, "validFrom": at(0), "kind": "FACT"}])


@pytest.mark.parametrize(
    "time", ["2024-03-01 12:00:00", "yesterday", True, 1e15, -1e12, "1709294400x", "2024-13-01 12:00:00+00", [], {}]
)
def test_what_is_no_time_is_refused(place: Place, tmp_path: Path, command: Command, time: Any) -> None:
    words = said(command("import", write(tmp_path / "1", [message("x", createdAt=time)]), *place.option))
    assert "line 1: createdAt: " in words


def test_the_api_takes_times_as_the_contract_says(server: Server) -> None:
    document = "mutation ($t: DateTime) { createSession(input: {createdAt: $t}) { session { id } } }"
    for moment in ("2024-03-01 12:00:00+00", 1709294400):
        assert server.errors(document, t=moment)[0]["extensions"]["code"] == "BAD_USER_INPUT"


# Bad lines


def test_bad_lines_are_written_to_a_file_and_can_be_imported_when_mended(
    place: Place, tmp_path: Path, command: Command, clean: list[str]
) -> None:
    written = [json.dumps(line) for line in LINES]
    bad = {
        0: '{"type": "user"',
        4: json.dumps({**LINES[4], "tokenBudget": 0}),
        8: json.dumps({**LINES[8], "role": "BOSS"}),
    }
    file, skipped = tmp_path / "in.ndjson", tmp_path / "bad.ndjson"
    file.write_text("\n".join(bad.get(n, line) for n, line in enumerate(written)))
    for _ in range(2):
        done = command("import", file, "--skip-bad", skipped, *place.option)
        assert done.status == SKIPPED
        # What names the user of the first line can't be imported either.
        assert skipped.read_text().splitlines()[:3] == list(bad.values())
        assert "line 1: " in done.err
        assert "line 5: tokenBudget: " in done.err
        assert "line 9: role: " in done.err
    left = skipped.read_text().splitlines()[3:]
    assert all('"userId": "a"' in line for line in left)
    assert left
    mended = tmp_path / "mended.ndjson"
    mended.write_text("\n".join([*(written[n] for n in bad), *left]))
    assert command("import", mended, *place.option).status == 0
    lines = exported(command, place)
    # The mended message came last, and so it stands last.
    without = [[json.loads(line) for line in found] for found in (comparable(lines), clean)]
    for found in without:
        found[:] = [line for line in found if line["type"] != "message"]
        for line in found:
            line.pop("sources", None)
    assert without[0] == without[1]
    assert sum(line["type"] == "message" for line in lines) == sum(line["type"] == "message" for line in LINES)


def test_a_bad_line_among_many_costs_only_itself(place: Place, tmp_path: Path, command: Command) -> None:
    lines = [message(f"{n}", messageId=f"{n}", createdAt=at(n)) for n in range(300)]
    taken = [message("other", messageId=f"{n}", createdAt=at(n)) for n in range(0, 300, 10)]
    done = command("import", write(tmp_path / "1", lines + taken), "--skip-bad", tmp_path / "bad", *place.option)
    assert done.status == SKIPPED
    assert [json.loads(line) for line in (tmp_path / "bad").read_text().splitlines()] == taken
    assert "imported 1 session" not in done.out
    assert "imported 300 messages; 0 were there" in done.out
    assert counts(place)["messages"] == 300


def test_what_is_wrong_with_a_line_is_said_once(place: Place, tmp_path: Path, command: Command) -> None:
    words = said(command("import", write(tmp_path / "1", [message("x" * 1048577)]), *place.option))
    assert words.count("at most 1048576") == 1


def test_the_file_for_bad_lines_is_none_that_is_needed(place: Place, tmp_path: Path, command: Command) -> None:
    file = write(tmp_path / "in.ndjson", [message("x", createdAt=at(0))])
    for wrong in (file, tmp_path, tmp_path / "nowhere" / "bad"):
        assert str(wrong) in said(command("import", file, "--skip-bad", wrong, *place.option))
    assert file.read_text()
    assert command("import", file, "--skip-bad", tmp_path / "bad", *place.option).status == 0
    assert (tmp_path / "bad").read_text() == ""


def test_a_pipe_is_imported(place: Place, tmp_path: Path) -> None:
    lines = "".join(json.dumps(line) + "\n" for line in LINES[::-1])
    arguments = [sys.executable, "-m", "recallql", "import", "-", *place.option]
    done = subprocess.run(
        arguments, input=lines.encode(), capture_output=True, env=environment(), timeout=START_SECONDS
    )
    assert done.returncode == 0, done.stderr
    assert counts(place)["messages"] == sum(line["type"] == "message" for line in LINES)


# Projects and users


def test_an_export_holds_every_project_and_is_imported_into_them(
    fresh: Fresh, place: Place, tmp_path: Path, command: Command
) -> None:
    for project in ("default", "acme", "zoo"):
        took(command, place, tmp_path / "1", LINES, "--project", project)
    done = command("export", *place.option)
    projects = [json.loads(line)["project"] for line in done.out.splitlines()]
    assert projects == sorted(projects)
    assert set(projects) == {"acme", "default", "zoo"}
    assert "6 users, 3 agents, 3 documents, 9 sessions" in done.err
    other = fresh()
    (tmp_path / "all.ndjson").write_text(done.out)
    for _ in range(2):
        assert command("import", tmp_path / "all.ndjson", *other.option).status == 0
        assert command("export", *other.option).out == done.out
    # One project, into another one of the same database.
    one = command("export", "--project", "acme", *place.option).out
    assert {json.loads(line)["project"] for line in one.splitlines()} == {"acme"}
    (tmp_path / "acme.ndjson").write_text(one)
    for _ in range(2):
        done = command("import", tmp_path / "acme.ndjson", "--project", "copy", *place.option)
        assert done.status == 0, done.err
    copy = exported(command, place, "--project", "copy")
    assert comparable([{**line, "project": "acme"} for line in copy]) == comparable(
        [json.loads(line) for line in one.splitlines()]
    )
    newer = {line["key"] for line in copy if line["type"] == "memory"}
    assert {line["supersededBy"] for line in copy if "supersededBy" in line} <= newer
    assert command("export", "--project", "acme", *place.option).out == one
    assert command("export", "--project", "nowhere", *place.option).out == ""


def test_the_data_of_one_user_is_exported(fresh: Fresh, place: Place, tmp_path: Path, command: Command) -> None:
    instructions = {"instructions": "Sell.", "agentId": "x", "name": "X", "createdAt": at(3), "type": "agent"}
    lines = [instructions if line["type"] == "agent" else line for line in LINES]
    lines += [{"type": "agent", "agentId": "other", "name": "O"}]
    took(command, place, tmp_path / "1", lines)
    everything = [line for line in exported(command, place) if line.get("agentId") != "other"]
    done = command("export", tmp_path / "a.ndjson", "--user", "a", *place.option)
    assert done.status == 0, done.err
    found = [json.loads(line) for line in (tmp_path / "a.ndjson").read_text().splitlines()]
    for line in everything:
        line.pop("instructions", None)
    assert in_one_order(found) == in_one_order(
        [
            line
            for line in everything
            if line.get("userId") == "a"
            or line["type"] == "agent"
            or (line["type"], line.get("sessionId")) == ("message", "s0")
        ]
    )
    assert {line["type"] for line in found} == {"user", "agent", "document", "session", "message", "memory"}
    assert f"{len([line for line in found if line['type'] == 'message'])} messages" in done.err
    # It can be imported alone.
    other = fresh()
    assert command("import", tmp_path / "a.ndjson", *other.option).status == 0
    assert in_one_order(exported(command, other)) == in_one_order(found)


def in_one_order(lines: list[dict[str, Any]]) -> list[str]:
    """Lines that may come in the order of one index or of another."""
    return sorted(json.dumps(line, sort_keys=True) for line in lines)


def test_a_user_of_several_projects_is_exported_from_the_named_one(
    place: Place, tmp_path: Path, command: Command
) -> None:
    for project in ("default", "acme"):
        took(command, place, tmp_path / "1", LINES, "--project", project)
    assert "acme, default" in said(command("export", "--user", "a", *place.option))
    assert "'nobody'" in said(command("export", "--user", "nobody", *place.option))
    found = exported(command, place, "--user", "a", "--project", "acme")
    assert {line["project"] for line in found} == {"acme"}


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"sequence": 2.0}, {"sequence": 2}),
        ({"sequence": None, "name": None}, {}),
        ({"formMemories": False}, {"form_memories": False}),
        ({"metadata": {"a": [1, None]}, "parts": "x"}, {"metadata": {"a": [1, None]}, "parts": "x"}),
    ],
)
def test_an_unusual_value_is_read_as_the_contract_says(given: Line, read: Line) -> None:
    line = LineReader().read(1, json.dumps(message("x", **given)).encode())
    assert line == {"type": "message", "session_id": "s", "role": "USER", "content": "x", **read}


@pytest.mark.parametrize("kind", ["user", "agent", "session", "document", "memory"])
def test_an_export_with_bad_lines_is_whole_once_they_are_mended(
    server: Server, fresh: Fresh, tmp_path: Path, command: Command, kind: str
) -> None:
    fill(server)
    written = command("export", *server.place.option).out
    lines = written.splitlines()
    broken = {line: line.replace('"createdAt"', '"createdat"') for line in lines if f'"type":"{kind}"' in line}
    file, bad, other = tmp_path / "in.ndjson", tmp_path / "bad.ndjson", fresh()
    file.write_text("\n".join(broken.get(line, line) for line in lines))
    done = command("import", file, "--skip-bad", bad, *other.option)
    assert done.status == SKIPPED
    assert len(bad.read_text().splitlines()) >= len(broken)
    file.write_text(bad.read_text().replace('"createdat"', '"createdAt"'))
    assert command("import", file, *other.option).status == 0
    assert command("export", *other.option).out == written
