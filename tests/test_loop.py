"""The event loop: no request holds it for long, and what works in threads ends with its request."""

import json
import time
from typing import Any

import pytest
from sqlalchemy import text

from models.allowance import Allowance
from models.errors import TookTooLong, TooLarge
from models.sqlite.containment import json_contains
from models.sqlite.forms import form_of
from models.statements import Statement
from tests.documents import mutation
from tests.loop_watch import watched
from tests.servers import Server, Start

ADD = mutation("addMessages", "deduplicated")
HELD = 0.3
"""Seconds of its thread's own time that a request may hold the loop here; the aim is 0.05, where nothing else runs."""
LONG = ("lorem ipsum dolor sit amet consectetur " * 13_000)[:500_000]


def fill(server: Server) -> None:
    """Adds long messages of the user."""
    for session in ("a", "b"):
        messages = [{"role": "USER", "content": f"{LONG} needle {n}"} for n in range(15)]
        server.accepted(ADD, sessionId=session, userId="u", formMemories=False, messages=messages)


def fill_rows(server: Server) -> None:
    """Adds many short messages of the user."""
    messages = [{"role": "USER", "content": f"the message with the number {n}"} for n in range(100)]
    for session in range(60):
        server.accepted(ADD, sessionId=f"s{session}", userId="u", formMemories=False, messages=messages)


@pytest.fixture
def user(server: Server) -> Server:
    """A server with one user."""
    server.graphql('mutation { createUser(input: { userId: "u" }) { userErrors { code } } }')
    return server


def repeated(part: str, count: int) -> str:
    return " ".join(part.format(n) for n in range(count))


OBJECTS = [{"k": n} for n in range(1900)]
REQUESTS: dict[str, dict[str, Any] | bytes] = {
    "490 nested aliases": {
        "query": '{ user(userId: "u") { sessions { nodes { user { sessions { nodes { '
        + repeated("a{0}: user {{ userId }}", 490)
        + " } } } } } } }"
    },
    "a key for many fields": {
        "query": '{ user(userId: "u") { '
        + " ".join(f"a{n % 2}: sessions(first: 1) {{ nodes {{ sessionId }} }}" for n in range(400))
        + " } }"
    },
    "many fragments": {
        "query": '{ user(userId: "u") { '
        + repeated("...f{0}", 250)
        + " } } "
        + repeated("fragment f{0} on User {{ userId name sessions {{ nodes {{ sessionId }} }} }}", 250)
    },
    "900 operations of which none is named": {"query": repeated("query q{0} {{ viewer {{ role }} }}", 900)},
    "2,500 fields": {"query": '{ user(userId: "u") { ' + "userId name about " * 830 + "} }"},
    "JSON that is no JSON": b'{"query": "{ viewer { role } }", "variables": {"a": [' + b"1," * 4_000_000 + b"}",
    "JSON of many values": b'{"query": "{ viewer { role } }", "variables": {"a": [' + b'{"a":{}},' * 800_000 + b"1]}}",
    "JSON of many strings": json.dumps(
        {"query": "{ viewer { role } }", "variables": {"a": ["a, [b] {c}"] * 120_000}}
    ).encode(),
    "JSON of many commas and a string without an end": b'{"query": "{ viewer { role } }", "variables": {"a": ['
    + b"0," * 250_001
    + b'"'
    + b'\\"' * 500_000,
    "JSON of escapes with half of a character": b'{"query": "{ viewer { role } }", "variables": {"a": "\\ud800'
    + b"\\u0041" * 500_000
    + b'"}}',
    "messages of 7 MiB": {
        "query": ADD,
        "variables": {"input": {"sessionId": "c", "messages": [{"role": "USER", "content": LONG * 2}] * 7}},
    },
    "highlights of long texts": {"query": '{ search(query: "needle", first: 50) { edges { highlight } } }'},
    "a context of long texts": {"query": '{ session(sessionId: "a") { context(query: "needle 3") { tokenCount } } }'},
    "a user's context of long texts": {"query": '{ user(userId: "u") { context(query: "needle 3") { tokenCount } } }'},
    "the schema under 400 aliases": {"query": "{ " + repeated("a{0}: __schema {{ types {{ name }} }}", 400) + " }"},
    "the schema beside data": {
        "query": "{ __schema { queryType { name } } "
        + repeated("a{0}: __schema {{ types {{ name kind }} }}", 100)
        + ' user(userId: "u") { name } }'
    },
    "many rows under many aliases": {
        "query": '{ user(userId: "u") { sessions(first: 100) { nodes { messages(first: 100) { nodes { content '
        + repeated("a{0}: sequence", 85)
        + " } } } } } }"
    },
    "many errors": {
        "query": '{ user(userId: "u") { sessions(first: 100) { nodes { messages(first: 100) { nodes { '
        "session { messages(first: -1) { nodes { id } } } } } } } } }"
    },
    "containment": {
        "query": "query ($m: JSON!) { users(filter: {metadata: $m}) { nodes { userId } } }",
        "variables": {"m": {"a": OBJECTS[::-1]}},
    },
}


def _request(name: str) -> Any:
    """A request that reads nothing, or one row, is tried on one database."""
    reads = ("highlights", "context", "messages", "many rows", "many errors", "490 nested", "a key for", "containment")
    return name if any(part in name for part in reads) else pytest.param(name, marks=pytest.mark.once)


@pytest.mark.parametrize("name", [_request(name) for name in REQUESTS])
def test_no_request_holds_the_event_loop(user: Server, name: str) -> None:
    if "long" in name:
        fill(user)
    if "many rows" in name or "many errors" in name:
        fill_rows(user)
    if name == "containment":
        user.graphql(
            'mutation ($m: JSON!) { upsertUser(input: { userId: "u", metadata: $m }) { userErrors { code } } }',
            m={"a": OBJECTS},
        )
    request = REQUESTS[name]
    with watched(user) as watch:
        response = user.post(request)
    assert response.status_code < 500, response.text[:500]
    if "long" in name:
        assert "errors" not in response.json(), response.text[:500]
    assert watch.held < HELD, f"{watch.held:.3f} s of work, {watch.waited:.3f} s in all"


def test_a_highlight_of_a_long_text_shows_the_word(user: Server) -> None:
    fill(user)
    (edge,) = user.graphql('{ search(query: "needle", first: 1) { edges { highlight } } }')["search"]["edges"]
    assert "<mark>needle</mark>" in edge["highlight"]


def test_a_number_with_too_many_digits_is_refused_in_the_words_of_json(server: Server) -> None:
    response = server.post(b'{"query": "{ viewer { role } }", "variables": {"a": ' + b"1" * 5000 + b"}}")
    (error,) = response.json()["errors"]
    assert (response.status_code, error["extensions"]["code"]) == (400, "BAD_USER_INPUT")
    assert error["message"] == "The body's JSON has a number with too many digits."


def test_highlights_of_more_text_than_a_request_may_hold_are_shown(start: Start) -> None:
    server = start(max_answer_bytes=1024 * 1024)
    server.graphql('mutation { createUser(input: { userId: "u" }) { userErrors { code } } }')
    fill(server)
    query = '{ search(query: "needle", first: 30) { edges { score highlight } } }'
    edges = server.graphql(query)["search"]["edges"]
    assert len(edges) == 30
    assert all("<mark>needle</mark>" in edge["highlight"] for edge in edges)
    refused = server.execute(query.replace("score", "node { __typename }"))
    assert refused["errors"][0]["extensions"]["code"] == "PAYLOAD_TOO_LARGE"


def test_more_searches_than_end_in_time_are_refused_before_they_run(server: Server) -> None:
    searches = " ".join(f'a{n}: search(query: "needle {n}", first: 1) {{ edges {{ score }} }}' for n in range(120))
    (error,) = server.errors(f"{{ {searches} }}")
    assert error["extensions"]["code"] == "QUERY_TOO_COMPLEX"


def test_json_of_too_many_values_is_refused_whatever_stands_in_its_strings(server: Server) -> None:
    response = server.post(b'{"query": "{ viewer { role } }", "variables": {"a": [' + b"0," * 300_000 + b"0]}}")
    assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (413, "PAYLOAD_TOO_LARGE")
    text = {"query": "{ viewer { role } }", "variables": {"a": 'a, "quoted", [list] {and} \\ more, ' * 100_000}}
    assert server.post(text).json() == {"data": {"viewer": {"role": "SERVICE"}}}


def test_a_comparison_ends_when_its_request_does() -> None:
    whole = json.dumps({"a": [{"n": [{"x": n}, {"y": n % 7}]} for n in range(2000)]})
    part = json.dumps({"a": [{"n": [{"x": n, "y": n % 7}]} for n in range(900)]})
    over = Allowance(0)
    time.sleep(0.01)
    with pytest.raises(TookTooLong):
        json_contains(whole, part, over.check)


@pytest.mark.sqlite
def test_a_read_in_a_thread_ends_at_the_deadline(start: Start) -> None:
    server = start(request_timeout=0.4)
    slow = Allowance(0.2, credential="one")
    endless = Statement(
        text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS count FROM n")
    )

    async def read() -> float:
        database = server.app.state.database
        began = time.perf_counter()
        with pytest.raises(TookTooLong):
            await database.slow_reads.fetch(form_of(endless), {}, slow)
        return time.perf_counter() - began

    assert server.host.wait_for(read()) < 5
    assert server.graphql("{ users { totalCount } }") == {"users": {"totalCount": 0}}


def test_a_read_that_takes_unexpectedly_long_is_made_again_in_a_thread(server: Server) -> None:
    counting = "SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000"
    long = Statement(text(f"WITH RECURSIVE n(i) AS ({counting}) SELECT max(i) AS i FROM n"))

    async def read() -> Any:
        return [tuple(row) for row in await server.app.state.database.reader.fetch(long, {})]

    with watched(server) as watch:
        assert server.host.wait_for(read()) == [(3_000_000,)]
    assert watch.held < HELD


def test_an_allowance_of_bytes_ends() -> None:
    allowance = Allowance(bytes=1000)
    allowance.has_bytes(1000)
    with pytest.raises(TooLarge, match="1,000 bytes"):
        allowance.has_bytes(1001)


def test_rows_of_more_bytes_than_an_answer_may_have_are_not_read(start: Start) -> None:
    server = start(max_answer_bytes=1024 * 1024)
    messages = [{"role": "USER", "content": LONG} for _ in range(14)]
    server.accepted(ADD, sessionId="s", formMemories=False, messages=messages)
    query = 'query ($n: Int!) { session(sessionId: "s") { messages(first: $n) { nodes { content } } } }'
    assert len(server.graphql(query, n=2)["session"]["messages"]["nodes"]) == 2
    answer = server.execute(query, n=14)
    assert answer["errors"][0]["extensions"]["code"] == "PAYLOAD_TOO_LARGE"
    assert "2,097,152 bytes" in answer["errors"][0]["message"]
