"""`UserFilter.text` finds people by their ids, names and e-mail addresses: each of its words begins a word there."""

import contextlib
import json
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import resolvers.users
from models.user_words import words_of
from models.users import USERS
from tests.archives import Outcome, serving
from tests.documents import CREATE_USER, DELETE_USER, ISSUE_USER_TOKEN, UPDATE_USER, mutation
from tests.places import Place
from tests.servers import Api, Server

UPSERT_USER = mutation("upsertUser", "user { id }")
FIND = """query ($text: String, $first: Int, $after: String, $last: Int, $before: String, $order: UserOrder,
    $metadata: JSON) {
  users(first: $first, after: $after, last: $last, before: $before, orderBy: $order,
    filter: {text: $text, metadata: $metadata}) {
    totalCount edges { cursor node { userId } } pageInfo { hasNextPage hasPreviousPage } } }"""
BY_ID = {"field": "USER_ID", "direction": "ASC"}


def found(api: Api, text: str | None, **more: Any) -> list[str]:
    """The ids of the users that a text finds, in alphabetical order."""
    page = api.graphql(FIND, text=text, order=BY_ID, first=100, **more)["users"]
    ids = [edge["node"]["userId"] for edge in page["edges"]]
    assert page["totalCount"] == len(ids)
    return ids


def finds(api: Api, texts: dict[str, list[str]]) -> None:
    assert {text: found(api, text) for text in texts} == texts


PEOPLE: list[dict[str, Any]] = [
    {"userId": "anna.smith-7", "email": "Anna.Smith@Example.org", "firstName": "Anna", "lastName": "Smith"},
    {"userId": "8f0e42", "email": "annabel@acme.io", "name": "Annabel O'Brien", "about": "a pilot"},
    {"userId": "jl", "firstName": "Jean-Luc", "lastName": "Müller"},
    {"userId": "jp", "name": "山田太郎", "firstName": "太郎"},
    {"userId": "ru", "name": "Ёлкина Анна"},
    {"userId": "wide", "name": "Ｌｅｅ　Ａｎｎ"},
    {"userId": "hi", "name": "हिन्दी"},
    {"userId": "İz", "name": "Straße ﬁeld"},
    {"userId": "😀", "name": "😀"},
]


@pytest.fixture
def people(server: Server) -> Server:
    for person in PEOPLE:
        server.accepted(CREATE_USER, **person)
    return server


def test_each_word_of_the_text_begins_a_word_of_the_user(people: Server) -> None:
    finds(
        people,
        {
            "anna": ["8f0e42", "anna.smith-7"],
            "ANNA": ["8f0e42", "anna.smith-7"],
            "anna smi": ["anna.smith-7"],
            "smi anna": ["anna.smith-7"],
            "anna.smith@ex": ["anna.smith-7"],
            "anna.smith@example.org": ["anna.smith-7"],
            "org": ["anna.smith-7"],
            "annabel": ["8f0e42"],
            "a a": ["8f0e42", "anna.smith-7", "wide"],
            "nna": [],
            "smith bel": [],
            "pilot": [],
            "8f": ["8f0e42"],
            "7": ["anna.smith-7"],
        },
    )


def test_names_are_found_in_every_script_whatever_their_accents(people: Server) -> None:
    finds(
        people,
        {
            "o'brien": ["8f0e42"],
            "jean-luc": ["jl"],
            "luc": ["jl"],
            "muller": ["jl"],
            "MÜL": ["jl"],
            "mu\u0308ller": ["jl"],
            "山田": ["jp"],
            "太郎": ["jp"],
            "山田 太": ["jp"],
            "елк анна": ["ru"],
            "lee": ["wide"],
            "ａｎ": ["8f0e42", "anna.smith-7", "wide"],
            "हिन": ["hi"],
            "strasse": ["İz"],
            "field": ["İz"],
            "i̇z": ["İz"],
        },
    )


@pytest.mark.parametrize("text", [None, "", "  ", "\t\n"])
def test_a_blank_text_filters_nothing(people: Server, text: str | None) -> None:
    assert found(people, text) == sorted(person["userId"] for person in PEOPLE)


@pytest.mark.parametrize("text", ["@.-", "😀", "\0", " _ "])
def test_a_text_of_signs_alone_finds_nobody(people: Server, text: str) -> None:
    assert found(people, text) == []


def test_what_no_index_may_take_for_a_pattern_finds_only_itself(people: Server) -> None:
    for text in ("%", "_", "*", "a%", "an_a", '"anna', "' OR 1=1 --", "\ud800", "\U0010ffff"):
        assert found(people, f"{text} zzz") == [], text
    assert found(people, "a%") == found(people, "a")
    assert found(people, "smi\0th") == []


def test_the_text_holds_together_with_other_conditions(people: Server) -> None:
    people.accepted(UPDATE_USER, userId="8f0e42", metadata={"plan": "pro"})
    assert found(people, "anna", metadata={"plan": "pro"}) == ["8f0e42"]
    assert found(people, "smith", metadata={"plan": "pro"}) == []


# Limits


def test_a_long_text_is_refused(people: Server) -> None:
    assert found(people, " ".join(["anna", "smith", "example", "org", "7", *["ann"] * 50])) == ["anna.smith-7"]
    # A word that begins another one is found with it.
    assert found(people, " ".join("anna"[:n] for n in range(1, 5))) == ["8f0e42", "anna.smith-7"]
    assert found(people, " ".join(f"{n}" for n in range(10, 26))) == []
    for text, message in (
        (" ".join(f"{n}" for n in range(10, 27)), "`filter.text` has 17 words; at most 16 are looked for."),
        ("a" * 1001, "`filter.text` has 1001 characters; at most 1000 are allowed."),
    ):
        (error,) = people.errors(FIND, text=text)
        assert (error["extensions"]["code"], error["message"]) == ("BAD_USER_INPUT", message)


def test_a_long_word_is_compared_by_its_first_characters(server: Server) -> None:
    server.accepted(CREATE_USER, userId="long", name="x" * 64 + "y" * 64)
    assert found(server, "x" * 64) == ["long"]
    assert found(server, "x" * 64 + "z") == ["long"]
    assert found(server, "x" * 65) == ["long"]
    assert found(server, "x" * 63 + "y") == []


def test_the_first_two_hundred_words_of_a_user_count(server: Server) -> None:
    name = " ".join([f"w{n:03}" for n in range(199)] * 3)
    server.accepted(CREATE_USER, userId="many", name=name, firstName="first last")
    assert found(server, "w000 w198") == ["many"]
    assert found(server, "first") == ["many"]
    server.accepted(UPDATE_USER, userId="many", name=" ".join(f"w{n:03}" for n in range(300)))
    assert found(server, "w199") == ["many"]
    assert found(server, "w200") == []
    assert found(server, "first") == []


# What changes them


def test_an_update_changes_what_finds_a_user(server: Server) -> None:
    server.accepted(CREATE_USER, userId="u", name="Anna", email="anna@x.org")
    server.accepted(UPDATE_USER, userId="u", name="Bea")
    finds(server, {"anna": ["u"], "bea": ["u"], "anna bea": ["u"], "u": ["u"]})
    server.accepted(UPDATE_USER, userId="u", email=None, lastName="Byron", about="Anna")
    finds(server, {"anna": [], "org": [], "bea byr": ["u"]})
    server.accepted(UPSERT_USER, userId="u", name=None, firstName="Cleo", metadata={"name": "Bea"})
    finds(server, {"bea": [], "cleo byron u": ["u"]})
    server.accepted(UPSERT_USER, userId="new", name="Cleo")
    finds(server, {"cleo": ["new", "u"]})
    server.refused(CREATE_USER, userId="new", name="Dora")
    server.refused(UPDATE_USER, userId="new", name="Dora", expectedVersion=7)
    finds(server, {"dora": []})


def test_an_erased_user_is_not_found_and_leaves_no_word(server: Server) -> None:
    for user in ("ada", "bob"):
        server.accepted(CREATE_USER, userId=user, name="Unmistakable", email=f"{user}@x.org")
    server.accepted(DELETE_USER, userId="ada")
    assert found(server, "unmis") == ["bob"]
    words = [row[1] for row in server.tables()["user_words"]]
    assert sorted(words) == ["bob", "org", "unmistakable", "x"]
    server.accepted(DELETE_USER, userId="bob")
    assert server.tables()["user_words"] == []
    server.accepted(CREATE_USER, userId="ada")
    finds(server, {"unmis": [], "ada": ["ada"]})


def test_an_erasure_that_leaves_a_word_behind_is_undone(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada", name="Ada")
    # Without a foreign key, the words stay.
    server.place.query("CREATE TABLE kept AS SELECT * FROM user_words")
    server.place.query("DROP TABLE user_words")
    server.place.query("ALTER TABLE kept RENAME TO user_words")
    answer = server.execute(DELETE_USER, input={"userId": "ada"})
    assert answer.get("errors"), answer
    assert found(server, "ada") == ["ada"]


def test_imported_users_are_found(command: Callable[..., Outcome], place: Place, tmp_path: Path) -> None:
    lines = [
        {"type": "user", "userId": "u1", "firstName": "Anna", "email": "anna@x.org"},
        {"type": "user", "userId": "u2", "name": "Anna Bea"},
    ]
    file = tmp_path / "lines.ndjson"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for _ in range(2):
        outcome = command("import", file, *place.option)
        assert outcome.status == 0, outcome.err
    with serving(place) as server:
        finds(server, {"anna": ["u1", "u2"], "anna x": ["u1"], "bea": ["u2"]})


# Whom a viewer sees


@contextlib.contextmanager
def token_of(server: Server, user: str) -> Generator[Api]:
    api = Api(server.port, server.place)
    api.client.headers["authorization"] = f"Bearer {server.accepted(ISSUE_USER_TOKEN, userId=user)['token']}"
    yield api
    api.close()


def test_a_user_token_finds_its_own_user_alone(people: Server) -> None:
    with token_of(people, "8f0e42") as annabel:
        assert found(annabel, "anna") == ["8f0e42"]
        assert found(annabel, "smith") == []
        assert found(annabel, "") == ["8f0e42"]


def test_users_of_other_projects_are_not_found(server: Server) -> None:
    server.accepted(CREATE_USER, userId="mine", name="Anna")
    server.accepted(CREATE_USER, userId="other", name="Anna")
    server.place.query("UPDATE users SET project = 'other' WHERE user_id = 'other'")
    server.place.query(
        "UPDATE user_words SET project = 'other' WHERE user_key IN (SELECT key FROM users WHERE project = 'other')"
    )
    assert found(server, "anna") == ["mine"]


# Pages: whether the words are rare or common makes no difference


def make_common(monkeypatch: pytest.MonkeyPatch, tried: int) -> None:
    """Every word is common, so that this number of users is tried in the order of the list."""
    monkeypatch.setattr(resolvers.users, "USERS_TRIED", [(1, replace(USERS, tried=tried))])


@pytest.fixture(params=[None, 3, 8, 100], ids=lambda tried: f"{tried} tried")
def tried(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param is not None:
        make_common(monkeypatch, request.param)


ORDERS = [
    {"field": field, "direction": direction}
    for field in ("CREATED_AT", "UPDATED_AT", "USER_ID", "NAME", "EMAIL")
    for direction in ("ASC", "DESC")
]


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_those_found_are_paged_through_in_every_order_while_others_come_and_go(
    server: Server, tried: None, backward: bool
) -> None:
    stay = [f"s{n}" for n in range(7)]
    for n, user in enumerate(stay):
        email = None if n % 2 else f"{n}@x.org"
        server.accepted(CREATE_USER, userId=user, firstName="Anna", lastName=[None, "A", "B"][n % 3], email=email)
        server.accepted(CREATE_USER, userId=f"not {n}", name="Bea")
    for order in ORDERS:
        seen: list[str] = []
        cursor, more, number = None, True, 0
        while more:
            arguments = {"last": 2, "before": cursor} if backward else {"first": 2, "after": cursor}
            page = server.graphql(FIND, text="an", order=order, **arguments)["users"]
            seen += [edge["node"]["userId"] for edge in (page["edges"][::-1] if backward else page["edges"])]
            more = page["pageInfo"]["hasPreviousPage" if backward else "hasNextPage"]
            cursor = page["edges"][0 if backward else -1]["cursor"]
            server.accepted(CREATE_USER, userId=f"new {number}", name="Annika")
            if number:
                server.accepted(DELETE_USER, userId=f"new {number - 1}")
            number += 1
        server.accepted(DELETE_USER, userId=f"new {number - 1}")
        assert sorted(user for user in seen if user in stay) == stay, order


def test_a_cursor_stays_good_when_a_word_becomes_common(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(6):
        server.accepted(CREATE_USER, userId=f"{n}", name="Anna")
    seen: list[str] = []
    cursor = None
    for tried in (None, 4, 100):
        if tried is not None:
            make_common(monkeypatch, tried)
        page = server.graphql(FIND, text="anna", order=BY_ID, first=2, after=cursor)["users"]
        assert page["totalCount"] == 6
        seen += [edge["node"]["userId"] for edge in page["edges"]]
        cursor = page["edges"][-1]["cursor"]
    assert seen == [f"{n}" for n in range(6)]
    (error,) = server.errors(FIND, text="ann", order=BY_ID, first=2, after=cursor)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


WORDS = st.text(alphabet="aAbBäß ._-@1", max_size=6)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(people=st.lists(st.tuples(WORDS, WORDS), max_size=5), texts=st.lists(WORDS, min_size=1, max_size=4))
def test_those_found_are_those_that_a_plain_model_finds(
    server: Server, people: list[tuple[str, str]], texts: list[str]
) -> None:
    for n, (name, email) in enumerate(people):
        server.accepted(UPSERT_USER, userId=f"k{n}", name=name, email=email)
    for text in texts:
        asked = words_of([text]) or [text] * bool(text.strip())
        expected = [
            f"k{n}"
            for n, texts_of in enumerate(people)
            if all(any(own.startswith(word) for own in words_of([*texts_of, f"k{n}"])) for word in asked)
        ]
        assert [user for user in found(server, text) if user in {f"k{n}" for n in range(len(people))}] == expected
