"""Hostile requests: generated queries over the whole schema, malformed bodies, and bytes that are hardly HTTP.

None of it may be a fault of the server, none may leave a client waiting, and every error says what kind it is.
"""

import itertools
import json
import re
from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok

from tests.servers import Process, Serve, faults
from tests.wire import KINDS, Answer, Connection, ask, chunked, found, graphql, request

CASES = 1000
KEY = re.compile(r'(?<=[a-z]Id: )"(?:[^"\\]|\\.)*"')
KEYS = ["ada", "bo", "", "first", "second", "x" * 512]
CODES = {
    "BAD_USER_INPUT",
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "OPERATION_RESOLUTION_FAILURE",
    "PERSISTED_QUERY_NOT_FOUND",
    "QUERY_TOO_COMPLEX",
    "PAYLOAD_TOO_LARGE",
    "FORBIDDEN",
    "CONTEXT_OVERFLOW",
}

ROUNDS = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
)


# Queries and mutations over the whole schema


def test_a_thousand_generated_operations_meet_no_fault_of_the_server(serve: Serve) -> None:
    server = serve()
    schema = schemathesis.graphql.from_url(server.url)
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    # Made once: to make one takes as long as to draw from it.
    cases = [operation.as_strategy(generation_mode=mode) for operation in operations for mode in GenerationMode]
    asked: Counter[str] = Counter()
    said: Counter[str] = Counter()

    @settings(ROUNDS, max_examples=CASES, database=None, phases=[Phase.generate])
    @given(
        case=st.sampled_from(cases).flatmap(lambda chosen: chosen),
        keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=3),
    )
    def round(case: Case[Any], keys: list[str]) -> None:
        # Few keys, so that what one case makes, another finds, changes and deletes.
        given_keys = itertools.cycle(keys)
        document = KEY.sub(lambda _: json.dumps(next(given_keys)), str(case.body))
        response = server.post({"query": document})
        assert response.status_code == 200, (document, response.text)
        answer = response.json()
        codes = {error["extensions"]["code"] for error in answer.get("errors", [])}
        assert codes <= CODES, (document, answer)
        asked[case.operation.label] += 1
        said["refused" if codes else "answered"] += 1

    round()
    # Some cases are drawn and thrown away.
    assert asked.total() >= CASES
    assert asked.keys() == {operation.label for operation in operations}
    assert min(said["refused"], said["answered"]) > CASES / 20, said
    assert faults(server.output()) == []


# Hostile bodies


def check(answer: Answer) -> None:
    """An answer of the endpoint: data, or errors that each say of what kind they are; never a fault of the server."""
    assert answer.status in (200, 294, 400, 406, 413, 415, 422), answer
    assert (answer.header("content-type") or "").startswith("application/"), answer
    said = answer.json()
    assert said.keys() <= {"data", "errors"}, answer
    assert "errors" not in said or set(answer.codes()) <= CODES, answer
    assert answer.status == 200 or "data" not in said, answer


surrogates = st.sampled_from(["\ud800", "\udfff", "\udc80x", "\0", "\ufeff", "\u2028", "\U0001f986"])
texts = st.text(max_size=10) | surrogates
numbers = st.sampled_from(
    [
        *("1e999", "-1e999", "1e-999", "-0", "-0.0", "9" * 400, "9" * 5000, "-" + "9" * 20, "1." + "3" * 500, "01"),
        *("0x10", "+1", ".5", "1.", "1e", "--1", "NaN", "Infinity", "-Infinity", "1_000", "١"),
    ]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=10
)
documents = st.sampled_from(
    [
        "{ viewer { role } }",
        "query ($v: String!) { user(userId: $v) { name } }",
        "mutation ($v: JSON) { createUser(input: {metadata: $v}) { userErrors { code } } }",
        "query A { viewer { role } } query B { viewer { id } }",
        "subscription { __typename }",
        "{ __schema { types { name } } }",
        "{",
        "",
    ]
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "query": documents | values,
        "variables": st.dictionaries(st.sampled_from(["v", ""]), values) | values,
        "operationName": st.sampled_from(["A", "B", "C", ""]) | values,
        "extensions": st.fixed_dictionaries({"persistedQuery": values}) | values,
    },
)
valid = st.builds(
    lambda value, ascii, encoding: json.dumps(value, ensure_ascii=ascii).encode(encoding, "surrogatepass"),
    requests | values,
    st.booleans(),
    st.sampled_from(["utf-8"] * 4 + ["utf-8-sig", "utf-16", "utf-32", "utf-16-le"]),
)
depths = st.sampled_from([1, 31, 32, 33, 64, 500, 1000, 5000, 20_000, 200_000])
deep = st.builds(
    lambda form, depth: form(depth),
    st.sampled_from(
        [
            lambda depth: b"[" * depth,
            lambda depth: b"[" * depth + b"]" * depth,
            lambda depth: b'{"a":' * depth + b"1" + b"}" * depth,
            lambda depth: b'{"query":"{ viewer { role } }","variables":' + b"[" * depth + b"]" * depth + b"}",
            lambda depth: graphql("query ($v: JSON) { viewer { role } }").replace(
                b"{}", b'{"v":' * depth + b"1" + b"}" * depth
            ),
            lambda depth: graphql("{ a " * depth + "}" * depth),
            lambda depth: graphql("{ viewer(x: " + "[" * depth + "]" * depth + ") { role } }"),
            lambda depth: graphql("query ($v: " + "[" * depth + "Int" + "]" * depth + ") { viewer { role } }"),
            lambda depth: b'"' + b"\\" * depth + b'"',
        ]
    ),
    depths,
)
with_numbers = numbers.map(lambda number: graphql("{ viewer { role } }", v=1).replace(b"1", number.encode()))


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes], *, edits: int = 3) -> bytes:
    """Bytes with some left out, repeated, replaced or put in."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(1, edits))):
        start = draw(st.integers(0, len(data)))
        end = min(start + draw(st.integers(0, 20)), len(data))
        new = draw(st.sampled_from([b"", bytes(data[start:end]) * 2]) | st.binary(max_size=6) | st.sampled_from(SEAMS))
        data[start:end] = new
    return bytes(data)


SEAMS = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\0",
    b":",
    b" ",
    b"\t",
    b"\xff",
    b"0\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"{",
    b'"',
]
bodies = st.one_of(valid, damaged(valid), deep, with_numbers, st.binary(max_size=200))
content_types = st.sampled_from(["application/json"] * 6 + ["application/json; charset=utf-8"]) | st.sampled_from(
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/json; charset=utf-16",
        "application/json;charset",
        "application/jsonp",
        "json",
        "",
        ";",
        "*/*",
        "application/json, text/plain",
        "\xff",
    ]
)
accepts = st.sampled_from(
    ["*/*", "application/json", "application/graphql-response+json", "text/html", "", ";q=", "\xff"]
)


@pytest.mark.once
@settings(ROUNDS, max_examples=1000)
@given(data=st.data(), body=bodies, content_type=content_types, accept=accepts)
@pytest.mark.usefixtures("unharmed")
def test_a_hostile_body_is_answered_and_the_next_request_too(
    process: Process, data: st.DataObject, body: bytes, content_type: str, accept: str
) -> None:
    headers = {"Content-Type": content_type, "Accept": accept}
    if data.draw(st.booleans(), label="in chunks"):
        cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=6), label="chunks"))
        pieces = [body[start:end] for start, end in itertools.pairwise([0, *cuts, len(body)])]
        whole = request(headers=headers | {"Transfer-Encoding": "chunked"}) + chunked(pieces)
    else:
        whole = request(body, headers)
    cut = data.draw(st.integers(0, len(whole)), label="cut")
    with Connection(process.port) as connection:
        check(connection.ask(whole[:cut], whole[cut:]))
        assert found(connection.ask(ask(1)), 1)


# Bytes that are hardly HTTP


streams = st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3).map(
    lambda names: b"".join(KINDS[name].data for name in names if len(KINDS[name].data) < 2000)
)


@pytest.mark.once
@settings(ROUNDS, max_examples=1000)
@given(stream=damaged(streams, edits=4) | st.binary(max_size=300), data=st.data())
def test_damaged_requests_do_no_harm_and_leave_nobody_waiting(
    process: Process, stream: bytes, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=4), label="cuts"))
    logged = len(process.output())
    with Connection(process.port) as connection:
        try:
            connection.send(*(stream[start:end] for start, end in itertools.pairwise([0, *cuts, len(stream)])))
            # More than any head or body of these still lacks, and then the end.
            connection.send(ask(9, {"Connection": "close"}) * 40)
            connection.finish()
        except OSError:
            pass
        said = connection.rest()
    assert not re.search(rb"HTTP/1\.[01] 5", said), said
    assert b"INTERNAL_SERVER_ERROR" not in said, said
    with Connection(process.port) as connection:
        assert found(connection.ask(ask(2)), 2)
    assert faults(process.output()[logged:]) == []


@pytest.mark.parametrize("stream", [b"hello\r\n\r\n", ask(1).replace(b"Host:", b"Host :")], ids=["hello", "a space"])
def test_what_is_no_http_is_refused_with_a_code(connection: Connection, stream: bytes) -> None:
    answer = connection.ask(stream)
    assert answer.status == 400
    assert answer.header("content-type") == "application/json"
    assert answer.codes() == ["BAD_USER_INPUT"]
    assert connection.is_closed()
