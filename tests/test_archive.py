"""`recallql import` and `recallql export`: files, streams, terminals, memory, and what goes wrong on the way."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.archives import EVERY_TYPE, Command, Line, Outcome, add_documents, run, said, say, write
from tests.commands import begin, environment
from tests.places import Fresh, Place, SqlitePlace
from tests.servers import START_SECONDS, Api, Server


def test_a_file_with_every_type_of_line_is_imported_and_exported(tmp_path: Path) -> None:
    file = write(tmp_path / "in.ndjson", EVERY_TYPE)
    imported = run("import", file, cwd=tmp_path)
    assert imported.status == 0, imported.err
    assert imported.err.count("position") == imported.err.count("\n") == 1
    exported = run("export", cwd=tmp_path)
    assert exported.status == 0, exported.err
    assert exported.err == "exported 2 users, 1 agent, 5 documents, 3 sessions, 6 messages, 3 memories\n"
    lines = [json.loads(line) for line in exported.out.split("\n")[:-1]]
    kinds = [line["type"] for line in lines]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "user": 2,
        "agent": 1,
        "document": 5,
        "session": 3,
        "message": 6,
        "memory": 3,
    }
    # Whatever was given comes out again, times in UTC.
    by_id = {(line["type"], line.get("userId"), line.get("content")): line for line in lines}
    ada = by_id["user", "ada", None]
    assert ada["metadata"] == EVERY_TYPE[0]["metadata"]
    assert ada["about"] == EVERY_TYPE[0]["about"]
    assert ada["createdAt"] == "2023-05-06T05:08:09.123456Z"
    messages = [line for line in lines if line["type"] == "message" and line["sessionId"] == "s"]
    assert [message["sequence"] for message in messages] == [1, 2, 3, 4, 5]
    given = [line for line in EVERY_TYPE if line["type"] == "message" and line["sessionId"] == "s"]
    for before, after in zip(given, messages, strict=True):
        assert before.items() <= after.items()
    memory = by_id["memory", "ada", "likes ships"]
    assert [(source["sessionId"], source["sequence"]) for source in memory["sources"]] == [("s", 1), ("s", 3)]
    session = next(line for line in lines if line["type"] == "session" and line["sessionId"] == "s")
    assert EVERY_TYPE[3].items() <= session.items()
    assert by_id["memory", "bob", "was born"]["model"] == "some-8b"


def test_importing_a_file_twice_changes_nothing(place: Place, tmp_path: Path, command: Command) -> None:
    file = write(tmp_path / "in.ndjson", EVERY_TYPE)
    assert command("import", file, *place.option).status == 0
    before = place.tables()
    exported = command("export", *place.option).out
    again = command("import", file, *place.option)
    assert again.status == 0, again.err
    assert str(len(EVERY_TYPE)) in again.out
    assert place.tables() == before
    assert command("export", *place.option).out == exported


PEAK = """
import sys
from recallql.commands.cli import main
try:
    main()
finally:
    with open("/proc/self/status") as status:
        peak = next(line for line in status if line.startswith("VmHWM:"))
    print("PEAK", peak.split()[1], file=sys.stderr)
"""


def peak_megabytes(*arguments: str | Path) -> float:
    """The largest memory that the command took, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        timeout=START_SECONDS,
        check=True,
    )
    (peak,) = re.findall(rb"PEAK (\d+)", done.stderr)
    return int(peak) / 1024


def test_a_large_file_takes_no_more_memory_than_a_small_one(fresh: Fresh, tmp_path: Path) -> None:
    peaks: list[tuple[float, float]] = []
    for count in (1_000, 10_000):
        file, place = tmp_path / f"{count}.ndjson", fresh()
        with file.open("w") as lines:
            for n in range(count):
                said = f"{n} " + "word " * 800
                line = {"type": "message", "sessionId": f"s{n % 5}", "role": "USER", "content": said, "tokenCount": 800}
                lines.write(json.dumps(line) + "\n")
        taken = peak_megabytes("import", file, *place.option)
        written = tmp_path / f"{count}.out"
        peaks.append((taken, peak_megabytes("export", written, *place.option)))
        with written.open("rb") as opened:
            assert sum(1 for _ in opened) == count + 5
    (small_in, small_out), (large_in, large_out) = peaks
    # The larger file holds 36 MB more; SQLite's caches may fill.
    assert large_in - small_in < 25
    assert large_out - small_out < 25


def test_an_export_does_not_hold_all_documents_in_memory(fresh: Fresh, tmp_path: Path) -> None:
    peaks: list[float] = []
    for count in (2, 60):
        place = fresh()
        add_documents(place, count)
        peaks.append(peak_megabytes("export", tmp_path / f"{count}.out", *place.option))
    assert peaks[1] - peaks[0] < 30, "58 MB more of documents were held at once"


@pytest.mark.parametrize("text", [b"", b"\n\n"], ids=["empty", "blank"])
def test_an_empty_file_imports_nothing(place: Place, tmp_path: Path, command: Command, text: bytes) -> None:
    file = tmp_path / "in.ndjson"
    file.write_bytes(text)
    before = place.tables()
    outcome = command("import", file, *place.option)
    assert outcome.status == 0, outcome.err
    assert place.tables() == before


def test_standard_input_is_imported_and_standard_output_exported(
    place: Place, tmp_path: Path, command: Command
) -> None:
    lines = "".join(json.dumps(line) + "\n" for line in EVERY_TYPE)
    imported = run("import", "-", *place.option, stdin=lines)
    assert imported.status == 0, imported.err
    file = tmp_path / "out.ndjson"
    to_file = command("export", file, *place.option)
    assert to_file.status == 0, to_file.err
    assert run("export", *place.option).out == file.read_text(encoding="utf-8")


def test_a_file_that_cannot_be_read_is_named(place: Place, tmp_path: Path, command: Command) -> None:
    for missing in (tmp_path / "missing.ndjson", tmp_path):
        assert str(missing) in said(command("import", missing, *place.option))


def test_an_export_does_not_overwrite_a_file(place: Place, tmp_path: Path, command: Command) -> None:
    file = tmp_path / "out.ndjson"
    file.write_text("precious")
    assert str(file) in said(command("export", file, *place.option))
    assert file.read_text() == "precious"


def test_an_export_into_a_folder_that_is_not_there_is_refused(place: Place, tmp_path: Path, command: Command) -> None:
    file = tmp_path / "nowhere" / "out.ndjson"
    assert str(file) in said(command("export", file, *place.option))


@pytest.mark.sqlite
def test_an_export_that_fails_leaves_no_file(tmp_path: Path, command: Command) -> None:
    file, missing = tmp_path / "out.ndjson", SqlitePlace(tmp_path / "missing.db")
    assert str(missing.path) in said(command("export", file, *missing.option))
    assert not missing.path.exists(), "an export must not make a database"
    assert not file.exists(), "what is left looks like an export of nothing, and refuses the next one"


def test_an_export_into_a_closed_pipe_says_nothing(place: Place, tmp_path: Path, command: Command) -> None:
    lines: list[Line] = [
        {"type": "message", "sessionId": "s", "role": "USER", "content": "word " * 2000} for _ in range(100)
    ]
    assert command("import", write(tmp_path / "in.ndjson", lines), *place.option).status == 0
    (out, to_out), (err, to_err) = os.pipe(), os.pipe()
    with os.fdopen(err, "rb") as told:
        with os.fdopen(to_out, "wb") as stdout, os.fdopen(to_err, "wb") as stderr:
            export = begin("export", *place.option, stdout=stdout, stderr=stderr)
        with os.fdopen(out, "rb") as written:
            assert written.readline().startswith(b'{"type":"session"')
        assert b"Traceback" not in told.read()
    assert export.wait(timeout=START_SECONDS) != 0


@pytest.mark.parametrize(
    ("action", "shown"),
    [
        ("import", b"importing"),
        ("export", b"exporting"),
        pytest.param("backup", b"checking", marks=pytest.mark.sqlite),
    ],
)
def test_a_progress_bar_is_shown_on_a_terminal_and_nowhere_else(
    place: Place, tmp_path: Path, command: Command, action: str, shown: bytes
) -> None:
    file = write(tmp_path / "in.ndjson", [{"type": "user", "userId": f"u{n}"} for n in range(50)])
    if action != "import":
        assert command("import", file, *place.option).status == 0
        file = tmp_path / "out"
    seen = bytearray()
    terminal, its_end = pty.openpty()

    def read() -> None:
        with contextlib.suppress(OSError):
            while piece := os.read(terminal, 4096):
                seen.extend(piece)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with (tmp_path / "stdout").open("wb") as stdout, os.fdopen(its_end, "wb", buffering=0) as stderr:
        done = begin(action, file, *place.option, stdout=stdout, stderr=stderr, TERM="xterm", COLUMNS="80")
        assert done.wait(START_SECONDS) == 0
    reader.join(timeout=10)
    os.close(terminal)
    assert shown in seen
    assert b"100%" in seen
    assert b"%" not in (tmp_path / "stdout").read_bytes()
    if action != "import":
        file.unlink()
    assert "%" not in command(action, file, *place.option).err


def test_an_import_beside_a_server_leaves_no_gaps(server: Server, tmp_path: Path) -> None:
    count = 1500
    lines: list[Line] = [
        {"type": "message", "sessionId": "s", "role": "USER", "content": f"imported {n}"} for n in range(count)
    ]
    file = write(tmp_path / "in.ndjson", lines)
    output = tmp_path / "output"
    with output.open("wb") as told:
        importing = begin("import", file, *server.place.option, stdout=told, stderr=told)
    said_here = 0
    while importing.poll() is None:
        say(server, "s", f"said {said_here}")
        said_here += 1
    assert importing.returncode == 0, output.read_text()
    say(server, "s", "said last")
    kept = server.place.query("SELECT sequence, content FROM messages ORDER BY sequence")
    assert [sequence for sequence, _ in kept] == list(range(1, count + said_here + 2))
    imported = [content for _, content in kept if content.startswith("imported")]
    assert imported == [f"imported {n}" for n in range(count)]
    mine = [content for _, content in kept if content.startswith("said")]
    assert mine == [*(f"said {n}" for n in range(said_here)), "said last"]


def test_an_export_is_of_one_moment_while_others_write(server: Server) -> None:
    say(server, "s", *["before"] * 50)
    stop = threading.Event()
    api = Api(server.port, server.place)

    def talk() -> None:
        while not stop.is_set():
            say(api, "s", "a pair", "a pair")

    talking = threading.Thread(target=talk)
    talking.start()
    exported = run("export", *server.place.option)
    stop.set()
    talking.join()
    api.close()
    assert exported.status == 0, exported.err
    lines = [json.loads(line) for line in exported.out.split("\n")[:-1]]
    (session,) = [line for line in lines if line["type"] == "session"]
    messages = [line for line in lines if line["type"] == "message"]
    assert len(messages) == session["lastSequence"] == messages[-1]["sequence"]
    assert len(messages) % 2 == 0


@pytest.mark.parametrize("arguments", [["import"], ["import", "a", "b"], ["export", "--nonsense"], ["nonsense"]])
def test_a_wrong_use_of_the_command_ends_with_2(command: Command, arguments: list[str]) -> None:
    outcome = command(*arguments)
    assert outcome.status == 2
    assert "Usage" in outcome.err


def test_an_export_that_is_killed_leaves_nothing_under_its_name(place: Place, tmp_path: Path) -> None:
    add_documents(place, 100)
    folder = tmp_path / "out"
    folder.mkdir()
    file = folder / "out.ndjson"
    with Path(os.devnull).open("wb") as nothing:
        export = begin("export", file, *place.option, stdout=nothing, stderr=nothing)
    deadline = time.monotonic() + START_SECONDS
    while not any(one.stat().st_size for one in folder.iterdir()):
        assert export.poll() is None, "it ended before it had written anything"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    export.kill()
    assert export.wait(timeout=START_SECONDS) != 0
    assert not file.exists()
    assert run("export", file, *place.option).status == 0, "what is left stands in the way of the next one"
    assert len(file.read_bytes().splitlines()) == 101
    assert list(folder.iterdir()) == [file]


@pytest.mark.sqlite
def test_an_export_of_a_damaged_file_leaves_nothing(place: Place, path: Path, tmp_path: Path, command: Command) -> None:
    add_documents(place, 2)
    place.query("PRAGMA wal_checkpoint(TRUNCATE)")
    ((size,),) = place.query("PRAGMA page_size")
    ((page,),) = place.query("SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_documents_1'")
    with path.open("r+b") as opened:
        opened.seek(size * (page - 1))
        opened.write(b"\xa5" * size)
    folder = tmp_path / "out"
    folder.mkdir()
    assert str(path) in said(command("export", folder / "out.ndjson", *place.option))
    assert list(folder.iterdir()) == []


@pytest.mark.once
@pytest.mark.parametrize("count", [0, 1, 5])
def test_an_export_onto_a_full_disk_says_so(place: Place, count: int) -> None:
    add_documents(place, count)
    with Path("/dev/full").open("wb") as full:
        # What is left in the buffers of Python's own standard output is written at its end.
        done = subprocess.run(
            [sys.executable, "-m", "recallql", "export", *place.option],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=START_SECONDS,
        )
    assert "No space left" in said(Outcome(done.returncode, "", done.stderr.decode()))
