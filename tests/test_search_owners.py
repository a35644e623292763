"""Search by agent and by sessions, and by rating: what is found depends on nothing outside of them."""

from collections.abc import Iterator
from typing import Any

import pytest

from models.search_kinds import SEARCH_KINDS
from resolvers.search.gathering import Gathering
from tests.documents import (
    CREATE_AGENT,
    CREATE_DOCUMENT,
    CREATE_MEMORY,
    CREATE_SESSION,
    CREATE_USER,
    DELETE_AGENT,
    DELETE_SESSION,
    ISSUE_USER_TOKEN,
    UPDATE_SESSION,
)
from tests.plans import plans, scans
from tests.searches import SEARCH, add, assert_index_is_exact, fill, found, index_now, walk
from tests.servers import Api, Server


def remember(server: Server, content: str, **fields: Any) -> None:
    server.accepted(CREATE_MEMORY, kind="FACT", content=content, **fields)


@pytest.fixture
def town(server: Server) -> Server:
    """Two users with sessions with two agents; each text with the word says whose it is."""
    for user in ("ada", "bob"):
        server.accepted(CREATE_USER, userId=user, documents=[{"title": f"zebra file of {user}", "content": "x"}])
        remember(server, f"zebra fact of {user}", userId=user)
    for agent in ("guide", "clerk"):
        server.accepted(CREATE_AGENT, agentId=agent, name=agent)
        remember(server, f"zebra lesson of {agent}", agentId=agent, rating=0.5)
        server.accepted(CREATE_DOCUMENT, agentId=agent, title=f"zebra manual of {agent}", content="x")
        for user in ("ada", "bob"):
            session = f"{user}-{agent}"
            server.accepted(CREATE_SESSION, sessionId=session, userId=user, agentId=agent)
            add(server, session, f"zebra said in {session}")
            remember(server, f"zebra learned in {session}", sessionId=session, rating=0.9)
    server.accepted(CREATE_SESSION, sessionId="nobody-guide", agentId="guide")
    add(server, "nobody-guide", "zebra said in nobody-guide")
    remember(server, "zebra learned in nobody-guide", sessionId="nobody-guide")
    add(server, "alone", "zebra said in alone", userId="ada")
    return server


@pytest.fixture(params=["read whole", "through the index", "through the whole index"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The ways in which a search finds its candidates."""
    if request.param != "read whole":
        request.getfixturevalue("through_index")
    if request.param == "through the whole index":
        monkeypatch.setattr("models.search.MOST_SESSIONS", 0)
    return request.param


@pytest.fixture
def ada(town: Server) -> Iterator[Api]:
    api = Api(town.port, town.place)
    token = town.accepted(ISSUE_USER_TOKEN, userId="ada")["token"]
    api.client.headers["authorization"] = f"Bearer {token}"
    yield api
    api.close()


def zebras(api: Api, **scope: Any) -> set[str]:
    """The texts with a zebra in a scope, without the word."""
    edges = found(api, "zebra", **scope)
    texts = [edge["node"].get("content") or edge["node"]["title"] for edge in edges]
    assert len(texts) == len(set(texts))
    return {text.removeprefix("zebra ") for text in texts}


OF_GUIDE = {
    "lesson of guide",
    "manual of guide",
    *(f"{done} in {user}-guide" for done in ("said", "learned") for user in ("ada", "bob", "nobody")),
}


def test_an_agents_search_finds_its_own_objects_and_those_of_its_sessions(town: Server, way: str) -> None:
    for _ in range(2):
        assert zebras(town, agentId="guide") == OF_GUIDE
        assert zebras(town, agentId="clerk") & OF_GUIDE == set()
        assert zebras(town, agentId="nobody") == zebras(town, agentId="") == zebras(town, agentId="\ud800x") == set()
        index_now(town)


def test_an_agent_and_a_user_or_a_session_are_searched_for_what_belongs_to_both(town: Server, way: str) -> None:
    both = {"said in ada-guide", "learned in ada-guide"}
    for _ in range(2):
        assert zebras(town, agentId="guide", userId="ada") == both
        assert zebras(town, agentId="guide", sessionId="ada-guide") == both
        assert zebras(town, agentId="guide", userId="ada", sessionId="ada-guide") == both
        assert zebras(town, agentId="guide", filter={"sessionIds": ["ada-guide", "ada-clerk", "alone"]}) == both
        assert zebras(town, agentId="guide", sessionId="ada-clerk") == set()
        assert zebras(town, agentId="guide", userId="nobody") == set()
        index_now(town)


def test_sessions_are_searched_together(town: Server, way: str) -> None:
    asked = {"sessionIds": ["ada-guide", "bob-clerk", "unknown", "ada-guide", "", "x" * 600]}
    of_ada = {"said in ada-guide", "learned in ada-guide"}
    of_bob = {"said in bob-clerk", "learned in bob-clerk"}
    for _ in range(2):
        assert zebras(town, filter=asked) == of_ada | of_bob
        assert zebras(town, filter=asked, userId="bob") == of_bob
        assert zebras(town, filter=asked, sessionId="ada-guide") == of_ada
        assert zebras(town, filter=asked, sessionId="ada-clerk") == set()
        assert zebras(town, filter=asked, scope=["DOCUMENTS"]) == set()
        assert zebras(town, filter=asked | {"roles": ["USER"]}) == {"said in ada-guide", "said in bob-clerk"}
        assert zebras(town, filter={"sessionIds": []}) == zebras(town, filter={"sessionIds": ["none"]}) == set()
        index_now(town)


def test_a_rating_asks_for_memories(town: Server, way: str) -> None:
    for _ in range(2):
        rated = zebras(town, filter={"minRating": 0.9})
        assert rated == {f"learned in {user}-{agent}" for user in ("ada", "bob") for agent in ("guide", "clerk")}
        assert zebras(town, filter={"minRating": 0.91}) == zebras(town, filter={"minRating": 2}) == set()
        assert zebras(town, filter={"minRating": 0.9, "kinds": ["EVENT"]}) == set()
        assert zebras(town, agentId="guide", filter={"minRating": 0.0}) == {
            "lesson of guide",
            "learned in ada-guide",
            "learned in bob-guide",
        }
        with_roles = zebras(town, filter={"minRating": 0.9, "roles": ["USER"]}, sessionId="ada-guide")
        assert with_roles == {"said in ada-guide", "learned in ada-guide"}
        assert zebras(town, filter={"minRating": 0.1}, scope=["MESSAGES", "DOCUMENTS"]) == set()
        index_now(town)


def test_a_user_token_finds_its_own_sessions_with_an_agent(town: Server, ada: Api, way: str) -> None:
    both = {"said in ada-guide", "learned in ada-guide"}
    for _ in range(2):
        assert zebras(ada, agentId="guide") == zebras(ada, agentId="guide", userId="ada") == both
        assert (
            zebras(ada, agentId="guide", userId="bob") == zebras(ada, agentId="guide", sessionId="bob-guide") == set()
        )
        assert zebras(ada, filter={"sessionIds": ["ada-guide", "bob-guide", "nobody-guide"]}) == both
        assert zebras(ada, filter={"minRating": 0.1}) == {"learned in ada-guide", "learned in ada-clerk"}
        index_now(town)


def test_a_session_is_searched_with_the_agent_that_it_has_now(town: Server, way: str) -> None:
    index_now(town)
    town.accepted(UPDATE_SESSION, sessionId="ada-guide", agentId="clerk")
    town.accepted(UPDATE_SESSION, sessionId="nobody-guide", userId="bob")
    town.accepted(DELETE_SESSION, sessionId="bob-guide")
    own = {"lesson of guide", "manual of guide", "said in nobody-guide", "learned in nobody-guide"}
    assert zebras(town, agentId="guide") == own
    assert {"said in ada-guide", "learned in ada-guide"} <= zebras(town, agentId="clerk")
    town.accepted(DELETE_AGENT, agentId="guide")
    assert zebras(town, agentId="guide") == set()
    assert_index_is_exact(town.place)


def test_better_matches_outside_hide_nothing(town: Server) -> None:
    fill(town.place, "eve", ["zebra zebra"] * 20_500)
    town.accepted(CREATE_AGENT, agentId="third", name="third")
    town.accepted(UPDATE_SESSION, sessionId="eve-s", agentId="third")
    for _ in range(2):
        assert zebras(town, agentId="guide") == OF_GUIDE
        asked = {"sessionIds": ["ada-guide", "eve-s"]}
        assert zebras(town, agentId="guide", filter=asked) == {"said in ada-guide", "learned in ada-guide"}
        assert zebras(town, userId="ada", filter=asked) == {"said in ada-guide", "learned in ada-guide"}
        for scope in ({"agentId": "third"}, {"filter": asked}):
            assert len(found(town, "zebra", **scope)) == 100
        index_now(town)


def test_all_results_of_an_agent_can_be_paged_through(
    town: Server, through_index: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in SEARCH_KINDS.values():
        monkeypatch.setitem(vars(each), "chosen", 7)
    monkeypatch.setattr("resolvers.search.candidates.GATHERED", 20)
    for number in range(40):
        remember(town, f"zebra {number}", agentId="guide" if number % 2 else "clerk")
        add(town, "bob-guide" if number % 2 else "ada-clerk", f"zebra {number} said")
    index_now(town)
    for scope in ({"agentId": "guide"}, {"filter": {"sessionIds": ["bob-guide", "ada-guide", "nobody-guide"]}}):
        edges = walk(town, asked="zebra", first=5, **scope)
        assert len({edge["node"]["id"] for edge in edges}) == len(edges)
        assert [edge["node"]["id"] for edge in edges] == [e["node"]["id"] for e in found(town, "zebra", **scope)]
        own = {"lesson of guide", "manual of guide", *(str(number) for number in range(1, 40, 2))}
        more = {f"{number} said" for number in range(1, 40, 2)}
        assert zebras(town, **scope) == (OF_GUIDE | own | more if "agentId" in scope else OF_GUIDE - own | more)


def test_a_cursor_belongs_to_its_agent_sessions_and_rating(town: Server) -> None:
    scopes: list[dict[str, Any]] = [
        {"agentId": "guide"},
        {"agentId": "clerk"},
        {"filter": {"sessionIds": ["ada-guide"]}},
        {"filter": {"sessionIds": ["bob-guide"]}},
        {"filter": {"minRating": 0.1}},
        {"filter": {"minRating": 0.2}},
        {},
    ]
    for scope in scopes:
        cursor = found(town, "zebra", **scope)[0]["cursor"]
        for other in scopes:
            answer = town.execute(SEARCH, asked="zebra", after=cursor, first=1, **other)
            codes = [error["extensions"]["code"] for error in answer.get("errors", ())]
            assert codes == ([] if other is scope else ["BAD_USER_INPUT"]), (scope, other)


@pytest.mark.parametrize("scope", [["MESSAGES"], ["DOCUMENTS"], None])
def test_too_many_sessions_are_refused(server: Server, scope: list[str] | None) -> None:
    asked = {"sessionIds": [f"s{number}" for number in range(101)]}
    (error,) = server.errors(SEARCH, asked="zebra", filter=asked, scope=scope)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "`filter.sessionIds` has 101 items" in error["message"]
    assert found(server, "zebra", filter={"sessionIds": asked["sessionIds"][1:]}) == []


def test_a_context_of_an_agents_session_finds_what_the_agent_has_learned(town: Server, ada: Api) -> None:
    query = '{ session(sessionId: "%s") { context(query: "zebra lesson", maxTokens: 2000) { memories { content } } } }'
    for session in ("ada-guide", "nobody-guide"):
        memories = town.graphql(query % session)["session"]["context"]["memories"]
        assert {"content": "zebra lesson of guide"} in memories
        assert {"content": "zebra lesson of clerk"} not in memories
    assert "lesson" not in str(ada.graphql(query % "ada-guide")["session"]["context"]["memories"])
    assert "lesson" not in str(town.graphql(query % "alone")["session"]["context"]["memories"])


@pytest.mark.sqlite
@pytest.mark.parametrize("indexed", [False, True])
def test_a_search_of_an_agent_or_sessions_goes_by_their_indices(
    town: Server, indexed: bool, request: pytest.FixtureRequest
) -> None:
    if indexed:
        request.getfixturevalue("through_index")
    index_now(town)
    texts: list[str] = []
    town.app.state.database.listener = texts.append
    for scope in (
        {"agentId": "guide"},
        {"agentId": "guide", "userId": "ada"},
        {"agentId": "guide", "sessionId": "ada-guide"},
    ):
        assert found(town, "zebra", **scope)
    for fields in ({}, {"userId": "ada"}):
        assert found(town, "zebra", filter={"sessionIds": ["ada-guide", "ada-clerk"]}, **fields)
    town.graphql('{ session(sessionId: "ada-guide") { context(query: "zebra", maxTokens: 500) { text } } }')
    searches = [text for text in texts if "json_each(:parents)" not in text or ":viewer" not in text]
    for text, plan in plans(town.path, searches).items():
        wide = [step for step in plan if "(project=?)" in step and "indexed_projects" not in step]
        # Of the index of words, and of the rows counted by a subquery, only a part is read.
        if "MATCH" not in text:
            wide += [step for step in scans(plan) if "anon" not in step]
        assert not wide, (text, plan)


def test_a_search_within_two_sessions_reads_no_other_message(server: Server) -> None:
    fill(server.place, "ada", [f"zebra {number}" for number in range(30_000)])
    for session in ("one", "two"):
        add(server, session, *(f"zebra {session} {number}" for number in range(5)), userId="ada")
    index_now(server)
    seen: list[int] = []
    receive = Gathering.receive

    def counting(self: Gathering, values: tuple[Any, ...]) -> None:
        seen.append(values[0])
        receive(self, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gathering, "receive", counting)
        assert len(found(server, "zebra", userId="ada", filter={"sessionIds": ["one", "two"]})) == 10
    assert len(seen) == 10
