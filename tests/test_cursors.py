"""Cursors that clients hold stay valid: their form never changes."""

import pytest

from models.memories import MEMORIES_OF_USER
from models.messages import MESSAGES_OF_SESSION
from models.users import USERS
from resolvers.cursors import CursorForm, Cursors, decode, encode
from resolvers.errors import BadInput
from resolvers.filters import Filter
from tests.documents import ADD_MESSAGES
from tests.servers import Server

PARENT = b"0123456789abcdef"
KEY = bytes(range(16))
EMAILS = Filter(identity='{"emails": ["a@b.c"]}')


def test_cursors_of_numbers_keep_their_form() -> None:
    cursors = Cursors(CursorForm(MESSAGES_OF_SESSION, "sequence", descending=False, filter=Filter()), PARENT)
    for sequence, cursor in {1: "69b1953c03f5d2", 2**31: "2069b1837c03f5f5"}.items():
        assert cursors.of([{"sequence": sequence}]) == [cursor]
        assert cursors.position(cursor, "after") == (sequence,)


def test_cursors_of_times_and_names_keep_their_form() -> None:
    cursors = Cursors(CursorForm(USERS, "created_at", descending=True, filter=EMAILS), None)
    cursor = "KAgykFsiMjAyNi0wMS0wMlQwMzowNDowNS4wMDAwMDYiLCJ6b8OrIl0"
    assert cursors.of([{"created_at": "2026-01-02T03:04:05.000006", "user_id": "zoë"}]) == [cursor]
    assert cursors.position(cursor, "after") == ("2026-01-02T03:04:05.000006", "zoë")


def test_cursors_of_keys_and_nulls_keep_their_form() -> None:
    cursors = Cursors(CursorForm(MEMORIES_OF_USER, "rating", descending=True, filter=Filter()), PARENT)
    for rating, cursor in {
        None: "yGapyFtudWxsLCIwMDAxMDIwMzA0MDUwNjA3MDgwOTBhMGIwYzBkMGUwZiJd",
        0.5: "iIT_0lswLjUsIjAwMDEwMjAzMDQwNTA2MDcwODA5MGEwYjBjMGQwZTBmIl0",
    }.items():
        assert cursors.of([{"rating": rating, "key": KEY}]) == [cursor]
        assert cursors.position(cursor, "before") == (rating, KEY)


def test_cursors_of_a_search_keep_their_form(server: Server) -> None:
    messages = [{"role": "USER", "content": content} for content in ("a zebra", "an otter", "zebras")]
    server.accepted(ADD_MESSAGES, sessionId="s", messages=messages)
    search = """query ($after: String) { search(query: "zebra", first: 1, after: $after) {
        edges { cursor node { ... on Message { content } } } } }"""
    edges = server.graphql(search)["search"]["edges"]
    cursor = (
        "9zmKlFstMC4zOTAwNTcsMCwiZWYzYTMyNmJiMzI3YWZlYzgxNDc2OTg3YWUyZjgwNzAiLDMsbnVsbCxbbnVsbCxudWxsLG51bGxdLDMsWzJdL"
        "Fs3LjAsMC4wLDAuMF0sMC42NjEyNDY0ODUyODM2NTU2XQ"
    )
    assert edges == [{"cursor": cursor, "node": {"content": "zebras"}}]
    assert server.graphql(search, after=cursor)["search"]["edges"][0]["node"] == {"content": "a zebra"}


def test_a_cursor_of_another_seed_is_refused() -> None:
    cursor = encode([1, KEY, "é"], seed=1)
    assert decode(cursor, seed=1) == [1, KEY.hex(), "é"]
    with pytest.raises(ValueError, match="another list"):
        decode(cursor, seed=2)


def test_a_refused_cursor_names_its_argument() -> None:
    cursors = Cursors(CursorForm(USERS, "created_at", descending=True, filter=EMAILS), None)
    for cursor in ("", "é", "AAAA", *cursors.of([{"created_at": "x", "user_id": 1}])):
        with pytest.raises(BadInput, match="`before`"):
            cursors.position(cursor, "before")
