"""Bodies that are not requests, too large, or of another type."""

from collections.abc import Iterator

import pytest

from tests.bad_input.targets import MEBIBYTE, Target

pytestmark = pytest.mark.once

GOOD = b'"query": "{ viewer { role } }"'
BODIES = {
    "empty": b"",
    "space": b" \n",
    "a number": b"5",
    "a float": b"1.5",
    "null": b"null",
    "true": b"true",
    "a list": b"[]",
    "a text": b'"x"',
    "a document": b"{ viewer { role } }",
    "an empty object": b"{}",
    "a batch": b"[{" + GOOD + b"}]",
    "an open object": b"{" + GOOD,
    "something after": b"{" + GOOD + b"} x",
    "two objects": b"{" + GOOD + b"}{" + GOOD + b"}",
    "a trailing comma": b"{" + GOOD + b",}",
    "single quotes": b"{'query': '{ viewer { role } }'}",
    "a comment": b"{" + GOOD + b"/* x */}",
    "a raw newline": b'{"query": "{ viewer\n { role } }"}',
    "a raw NUL": b'{"query": "{ viewer { role } }\0"}',
    "bad UTF-8": b"{" + GOOD + b', "x": "\xff"}',
    "bad UTF-8 in the query": b'{"query": "{ viewer { role } } # \xc3"}',
    "overlong UTF-8": b"{" + GOOD + b', "x": "\xc0\x80"}',
    "a surrogate in UTF-8": b"{" + GOOD + b', "x": "\xed\xa0\x80"}',
    "UTF-16": ("{" + GOOD.decode() + "}").encode("utf-16"),
    "noise": bytes(range(256)),
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    "NaN": b"{" + GOOD + b', "variables": {"a": NaN}}',
    "Infinity": b"{" + GOOD + b', "variables": {"a": Infinity}}',
    "-Infinity": b"{" + GOOD + b', "variables": {"a": [{"b": -Infinity}]}}',
    "nan": b"{" + GOOD + b', "variables": {"a": nan}}',
    "a bad escape": b"{" + GOOD + b', "x": "\\x00"}',
    "a bad number": b"{" + GOOD + b', "x": 01}',
    "deep open lists": b"[" * 200_000,
    "deep lists": b"[" * 200_000 + b"]" * 200_000,
    "deep open objects": b'{"a":' * 200_000,
    "deep objects": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "deep variables": b"{" + GOOD + b', "variables": {"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}}",
    "deep extensions": b"{" + GOOD + b', "extensions": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "no query": b'{"variables": {}, "operationName": "x"}',
    "query: null": b'{"query": null}',
    "query: 5": b'{"query": 5}',
    "query: []": b'{"query": ["{ viewer { role } }"]}',
    "query: {}": b'{"query": {}}',
    "query: true": b'{"query": true}',
    "variables: []": b"{" + GOOD + b', "variables": []}',
    "variables: 5": b"{" + GOOD + b', "variables": 5}',
    "variables: text": b"{" + GOOD + b', "variables": "{}"}',
    "variables: false": b"{" + GOOD + b', "variables": false}',
    "operationName: 5": b"{" + GOOD + b', "operationName": 5}',
    "operationName: {}": b"{" + GOOD + b', "operationName": {}}',
    "operationName: false": b"{" + GOOD + b', "operationName": false}',
    "extensions: 5": b"{" + GOOD + b', "extensions": 5}',
    "extensions: []": b"{" + GOOD + b', "extensions": []}',
}

WELL_FORMED_JSON = {"null", "true", "a number", "a float", "a text", "a list", "a batch", "an empty object", "no query"}


@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json"])
@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_no_request_is_refused(target: Target, name: str, accept: str) -> None:
    response = target.send(BODIES[name], {"accept": accept})
    # JSON that is not a GraphQL request is told apart from invalid JSON, though not in the older type.
    is_json = name in WELL_FORMED_JSON or ":" in name
    assert response.status_code == (422 if is_json and "graphql" in accept else 400)
    assert response.json()["errors"]
    assert "data" not in response.json()


def test_what_may_be_left_out_may_be_null(target: Target) -> None:
    body = b"{" + GOOD + b', "variables": null, "operationName": null, "extensions": null, "unknown": [1]}'
    assert target.send(body).json() == {"data": {"viewer": {"role": "SERVICE"}}}
    body = b"{" + GOOD + b', "variables": {}, "extensions": {"a": 1}}'
    assert target.send(body).json() == {"data": {"viewer": {"role": "SERVICE"}}}


def test_a_body_may_have_eight_mebibytes_and_no_more(target: Target) -> None:
    body = b"{" + GOOD + b"}"
    full = body + b" " * (8 * MEBIBYTE - len(body))
    assert target.send(full).json() == {"data": {"viewer": {"role": "SERVICE"}}}
    for larger in (full + b" ", full * 2):
        response = target.send(larger)
        assert response.status_code == 413
        assert {error["extensions"]["code"] for error in response.json()["errors"]} == {"PAYLOAD_TOO_LARGE"}


def test_a_body_without_a_stated_length_is_measured_all_the_same(target: Target) -> None:
    def pieces(size: int) -> Iterator[bytes]:
        body = b"{" + GOOD + b"}"
        yield body
        for start in range(len(body), size, 65536):
            yield b" " * min(65536, size - start)

    client, url = target.server.client, target.server.url
    headers = {"content-type": "application/json"}
    assert client.post(url, content=pieces(MEBIBYTE), headers=headers).status_code == 200
    assert client.post(url, content=pieces(8 * MEBIBYTE + 1), headers=headers).status_code == 413


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/plain; charset=utf-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/xml",
        "application/jsonp",
        "x",
        None,
    ],
)
def test_only_json_is_taken(target: Target, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    response = target.server.client.post(target.server.url, content=b"{" + GOOD + b"}", headers=headers)
    assert response.status_code == 415
    assert response.json()["errors"][0]["extensions"]["code"]


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"]
)
def test_json_is_taken_however_its_type_is_written(target: Target, content_type: str) -> None:
    assert target.send(b"{" + GOOD + b"}", {"content-type": content_type}).status_code == 200


def test_a_compressed_body_is_refused_or_understood(target: Target) -> None:
    response = target.server.post(b"{" + GOOD + b"}", {"content-encoding": "gzip"})
    assert response.status_code in (200, 400, 415)
