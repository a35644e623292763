"""The most expensive requests that one user may send, and the data for them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

MALLORY, ALICE = "mallory", "alice"
MIB = 1024 * 1024
LARGE, LARGE_MESSAGES = "large", 100
"""A session, and the number of its messages of 1 MiB each."""
LISTS, LIST_ROWS, LIST_LENGTH = "lists", 200, 5_500
"""A session, the number of its messages, and the length of the list in each one's metadata."""
MANY_SESSIONS, MESSAGES_EACH = 100, 100

Asked = tuple[str, dict[str, Any]]
"""A document and its variables."""

ADD = "mutation ($input: AddMessagesInput!) { addMessages(input: $input) { deduplicated userErrors { code message } } }"


def fill(ask: Callable[[str, dict[str, Any]], Any]) -> None:
    """Creates the data for Mallory's worst requests. `ask` sends a document and its variables as the application."""
    for user in (MALLORY, ALICE):
        ask("mutation ($id: String!) { createUser(input: {userId: $id}) { user { id } } }", {"id": user})

    def add(session: str, messages: list[dict[str, Any]]) -> None:
        given = {"sessionId": session, "userId": MALLORY, "messages": messages, "formMemories": False}
        ask(ADD, {"input": given})

    text = ("we talked about many things " * (MIB // 28))[: MIB - 20] + " invoice at the end"
    for _ in range(LARGE_MESSAGES // 5):
        add(LARGE, [{"role": "USER", "content": text}] * 5)
    odd = [{"n": number} for number in range(LIST_LENGTH)]
    for _ in range(LIST_ROWS // 20):
        add(LISTS, [{"role": "USER", "content": "a list", "metadata": {"list": odd}}] * 20)
    for session in range(MANY_SESSIONS):
        said = [{"role": "USER", "content": f"turn {turn} of many " + "word " * 30} for turn in range(MESSAGES_EACH)]
        add(f"session-{session}", said)


def as_body(asked: Asked) -> bytes:
    return json.dumps({"query": asked[0], "variables": asked[1]}).encode()


def highlights(number: int) -> bytes:
    query = "query ($q: String!) { search(query: $q, first: 50, scope: [MESSAGES]) { edges { highlight } } }"
    return as_body((query, {"q": f"invoice {number}"}))


def containment(number: int) -> bytes:
    query = """query ($s: String!, $m: JSON!) { session(sessionId: $s) {
        messages(first: 1, filter: {metadata: $m}) { totalCount } } }"""
    wanted = [{"n": LIST_LENGTH - 1 - item} for item in range(number % 7, 200)]
    return as_body((query, {"s": LISTS, "m": {"list": [*wanted, {"n": -1}]}}))


def context(number: int) -> bytes:
    query = """query ($s: String!, $q: String!) { session(sessionId: $s) {
        context(query: $q, maxTokens: 100000000) { tokenCount text messages { sequence } } } }"""
    return as_body((query, {"s": LARGE, "q": f"which invoice {number}"}))


def nested_aliases(number: int) -> bytes:
    query = "role"
    for level in range(18):
        query = " ".join(f"a{number}x{level}x{alias}: user {{ id }}" for alias in range(25)) + " " + query
    return as_body((f"{{ viewer {{ {query} }} }}", {}))


def deep_aliases(number: int) -> bytes:
    inner = "id"
    for level in range(20):
        inner = " ".join(
            f"b{number}x{level}x{alias}: node {{ {inner if not alias else 'sequence'} }}" for alias in (0, 1)
        )
        inner = f"messages(first: 1) {{ edges {{ {inner} }} }}" if level % 2 else f"session {{ {inner} }}"
    return as_body((f"{{ viewer {{ user {{ sessions {{ nodes {{ {inner} }} }} }} }} }}", {}))


def broken_json(number: int) -> bytes:
    return (
        b'{"query": "{ viewer { role } }", "variables": {"n": %d, "list": [' % number + b'"x",' * (2 * MIB - 64) + b"]}"
    )


def appends(number: int) -> bytes:
    said = [
        {"role": "USER", "content": f"{number} {turn} My name is Mallory. " + "words " * 11_000} for turn in range(100)
    ]
    return as_body((ADD, {"input": {"sessionId": "appended", "messages": said}}))


def operations(number: int) -> bytes:
    return as_body(("\n".join(f"query Q{number}x{each} {{ viewer {{ role }} }}" for each in range(900)), {}))


def documents(number: int) -> bytes:
    fields = " ".join(f"f{number}x{each}: name" for each in range(490))
    return as_body((f"{{ viewer {{ user {{ {fields} {'userId ' * 1000} }} }} }}", {}))


def pages(number: int) -> bytes:
    query = """{ viewer { user { sessions(first: 100) { nodes { sessionId messages(first: 100) {
        edges { cursor node { id sequence role content createdAt metadata } } } } } } } }"""
    return as_body((query + " " * (number % 50), {}))


def large_pages(number: int) -> bytes:
    query = "query ($s: String!, $n: Int!) { session(sessionId: $s) { messages(first: $n) { nodes { content } } } }"
    return as_body((query, {"s": LARGE, "n": 100 - number % 3}))


def searches(number: int) -> bytes:
    each = " ".join(
        f's{n}: search(query: "many words of turn {number} {n}", first: 20) {{ nodes {{ __typename }} }}'
        for n in range(50)
    )
    return as_body((f"{{ {each} }}", {}))


def counts(number: int) -> bytes:
    each = " ".join(
        f"c{n}: sessions(first: 1, filter: {{metadata: {{n: {number + n}}}}}) {{ totalCount }}" for n in range(100)
    )
    return as_body((f"{{ viewer {{ user {{ {each} }} }} }}", {}))


WORST: dict[str, Callable[[int], bytes]] = {
    "highlights of 50 messages of 1 MiB": highlights,
    "containment in lists of 5,500": containment,
    "a context over 100 MiB": context,
    "450 aliases, a new document": nested_aliases,
    "20 nested levels, a new document": deep_aliases,
    "8 MB of malformed JSON": broken_json,
    "addMessages of 6.6 MB": appends,
    "900 operations, a new document": operations,
    "1,490 fields, a new document": documents,
    "10,000 messages in one answer": pages,
    "a page of 100 MiB": large_pages,
    "50 searches": searches,
    "100 filtered counts": counts,
}


def requests_of(attack: str, token: str) -> Iterator[bytes]:
    """Yields HTTP requests without end, no two alike."""
    number = 0
    while True:
        body = WORST[attack](number)
        number += 1
        yield request(body, token)


def request(body: bytes, token: str) -> bytes:
    head = f"POST /graphql HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
