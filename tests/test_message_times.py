"""Times of messages: the offset that they were sent with, and lists in their order."""

import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.archives import Command
from tests.documents import DELETE_SESSION, mutation
from tests.places import Fresh
from tests.servers import Server

ADD = mutation("addMessages", "messages { id createdAt utcOffset }")
UPDATE = mutation("updateMessage", "message { createdAt utcOffset version }")
PAGE = """query ($first: Int, $after: String, $last: Int, $before: String, $filter: MessageFilter,
    $order: MessageOrder) { session(sessionId: "s") {
  messages(first: $first, after: $after, last: $last, before: $before, filter: $filter, orderBy: $order) {
    totalCount pageInfo { hasNextPage hasPreviousPage } edges { cursor node { sequence createdAt } } } } }"""
TIMES = {
    "2025-01-31T12:00:00+01:00": ("2025-01-31T11:00:00Z", 60),
    "2025-01-31T12:00:00-05:30": ("2025-01-31T17:30:00Z", -330),
    "2025-01-31T23:30:00.25+05:45": ("2025-01-31T17:45:00.250000Z", 345),
    "2025-01-31t12:00:00+00:00": ("2025-01-31T12:00:00Z", 0),
    "2025-01-31T12:00:00Z": ("2025-01-31T12:00:00Z", None),
    "2025-01-31 12:00:00z": ("2025-01-31T12:00:00Z", None),
    "2025-01-31T12:00:00-00:00": ("2025-01-31T12:00:00Z", None),
}


def said(times: Sequence[str | None]) -> list[dict[str, Any]]:
    return [{"role": "USER", "content": f"turn {n}"} | ({"createdAt": t} if t else {}) for n, t in enumerate(times)]


def test_a_time_keeps_the_offset_that_it_was_sent_with(server: Server) -> None:
    sent = server.accepted(ADD, sessionId="s", messages=said([*TIMES, None]))["messages"]
    assert [(each["createdAt"], each["utcOffset"]) for each in sent[:-1]] == list(TIMES.values())
    assert sent[-1]["utcOffset"] is None
    edited = server.accepted(UPDATE, id=sent[0]["id"], content="changed")["message"]
    assert edited == {"createdAt": "2025-01-31T11:00:00Z", "utcOffset": 60, "version": 2}
    # Written into the document, a time is read as in a variable.
    document = """mutation { addMessages(input: {sessionId: "t", messages: [
        {role: USER, content: "x", createdAt: "2025-01-31T12:00:00+01:00"}]}) { messages { createdAt utcOffset } } }"""
    answer = server.graphql(document)["addMessages"]["messages"]
    assert answer == [{"createdAt": "2025-01-31T11:00:00Z", "utcOffset": 60}]


def test_offsets_are_exported_and_imported(server: Server, fresh: Fresh, tmp_path: Path, command: Command) -> None:
    server.accepted(ADD, sessionId="s", messages=said(list(TIMES)))
    lines = tmp_path / "lines.ndjson"
    lines.write_text(command("export", *server.place.option).out)
    times = [json.loads(line)["createdAt"] for line in lines.read_text().splitlines() if '"message"' in line]
    assert times[:4] == [
        "2025-01-31T12:00:00+01:00",
        "2025-01-31T12:00:00-05:30",
        "2025-01-31T23:30:00.250000+05:45",
        "2025-01-31T12:00:00+00:00",
    ]
    assert all(time.endswith("Z") for time in times[4:])
    copy = fresh()
    assert command("import", lines, *copy.option).status == 0
    assert command("export", *copy.option).out == lines.read_text()


def test_times_of_other_systems_are_imported_with_their_offsets(
    server: Server, command: Command, tmp_path: Path
) -> None:
    times = ["2025-01-31 12:00:00+01", "2025-01-31 12:00:00.5-0330", "2025-01-31 12:00:00 UTC", 1738324800]
    lines = [
        {"type": "message", "sessionId": "s", "role": "developer", "content": str(time), "createdAt": time}
        for time in times
    ]
    file = tmp_path / "lines.ndjson"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert command("import", file, *server.place.option).status == 0
    nodes = server.graphql('{ session(sessionId: "s") { messages { nodes { content role createdAt utcOffset } } } }')
    assert sorted(nodes["session"]["messages"]["nodes"], key=lambda node: node["content"]) == [
        {"content": str(sent), "role": "DEVELOPER", "createdAt": kept, "utcOffset": offset}
        for sent, kept, offset in (
            (1738324800, "2025-01-31T12:00:00Z", None),
            ("2025-01-31 12:00:00 UTC", "2025-01-31T12:00:00Z", None),
            ("2025-01-31 12:00:00+01", "2025-01-31T11:00:00Z", 60),
            ("2025-01-31 12:00:00.5-0330", "2025-01-31T15:30:00.500000Z", -210),
        )
    ]


def listed(server: Server, **arguments: Any) -> dict[str, Any]:
    return server.graphql(PAGE, **arguments)["session"]["messages"]


def walked(server: Server, size: int, *, backwards: bool = False, **arguments: Any) -> list[int]:
    """All sequences of a list, page by page."""
    found: list[int] = []
    cursor = None
    while True:
        where = {"last": size, "before": cursor} if backwards else {"first": size, "after": cursor}
        page = listed(server, **where, **arguments)
        sequences = [edge["node"]["sequence"] for edge in page["edges"]]
        found = sequences + found if backwards else found + sequences
        if not page["pageInfo"]["hasPreviousPage" if backwards else "hasNextPage"]:
            assert len(found) == page["totalCount"]
            return found
        assert len(found) <= page["totalCount"], found
        cursor = page["edges"][0 if backwards else -1]["cursor"]


def backfill(server: Server) -> list[tuple[str, int]]:
    """A session that was written in no order of time, some turns at the same one: times and sequences by time."""
    hours = [n // 2 for n in range(24)]
    random.Random(5).shuffle(hours)
    times = [f"2025-01-01T{hour:02}:00:00Z" for hour in hours]
    server.accepted(ADD, sessionId="s", formMemories=False, messages=said(times))
    return sorted((time, sequence) for sequence, time in enumerate(times, 1))


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
@pytest.mark.parametrize("field", ["SEQUENCE", "CREATED_AT"])
def test_every_order_can_be_paged_both_ways(server: Server, field: str, direction: str) -> None:
    by_time = [sequence for _, sequence in backfill(server)]
    expected = by_time if field == "CREATED_AT" else sorted(by_time)
    expected = expected if direction == "ASC" else expected[::-1]
    order = {"field": field, "direction": direction}
    for size, backwards in itertools.product((1, 5, 100), (False, True)):
        assert walked(server, size, backwards=backwards, order=order) == expected
    narrow = {"since": "2025-01-01T03:00:00Z", "until": "2025-01-01T08:00:00Z"}
    times = {edge["node"]["sequence"]: edge["node"]["createdAt"] for edge in listed(server, first=100)["edges"]}
    within = [n for n in expected if narrow["since"] <= times[n] < narrow["until"]]
    assert walked(server, 3, order=order, filter={"createdAt": narrow}) == within
    # Between two cursors.
    edges = listed(server, first=100, order=order)["edges"]
    between = {"after": edges[4]["cursor"], "before": edges[9]["cursor"]}
    for which in ("first", "last"):
        page = listed(server, order=order, **between, **{which: 100})
        assert [edge["node"]["sequence"] for edge in page["edges"]] == expected[5:9]


def test_the_default_order_is_the_sequence(server: Server) -> None:
    backfill(server)
    order = {"field": "SEQUENCE", "direction": "ASC"}
    assert listed(server, first=5) == listed(server, first=5, order=order) == listed(server, first=5, order=None)


def test_a_cursor_is_good_for_its_order_alone(server: Server) -> None:
    backfill(server)
    orders = [{"field": f, "direction": d} for f in ("SEQUENCE", "CREATED_AT") for d in ("ASC", "DESC")]
    for mine, other in itertools.permutations(orders, 2):
        cursor = listed(server, first=2, order=mine)["edges"][-1]["cursor"]
        (error,) = server.errors(PAGE, first=2, after=cursor, order=other)
        assert error["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
@pytest.mark.parametrize("field", ["SEQUENCE", "CREATED_AT"])
def test_turns_of_before_a_deletion_are_in_no_order(server: Server, field: str, direction: str) -> None:
    backfill(server)
    server.accepted(DELETE_SESSION, sessionId="s")
    server.accepted(ADD, sessionId="s", messages=said(["2025-01-01T03:00:00Z", "2025-01-01T02:00:00Z"]))
    expected = [25, 26] if (field == "SEQUENCE") == (direction == "ASC") else [26, 25]
    for backwards in (False, True):
        order = {"field": field, "direction": direction}
        assert walked(server, 1, backwards=backwards, order=order) == expected
