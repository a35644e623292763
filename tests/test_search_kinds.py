"""Kinds of search results: their descriptions belong together, and none is found outside of its owner's scope."""

from dataclasses import replace

from models.search_kinds import DOCUMENTS, MEMORIES, MESSAGES, SEARCH_KINDS, Within
from resolvers.search.kinds import RESULT_KINDS
from schema.search import KINDS

USER, SESSION, AGENT = b"u", b"s", b"a"


def test_every_kind_is_described_in_each_package_in_the_same_order() -> None:
    assert list(SEARCH_KINDS) == list(RESULT_KINDS) == list(KINDS)
    assert [kind.noun for kind in SEARCH_KINDS.values()] == [type.__name__ for type, _ in KINDS.values()]


def test_a_filter_of_one_kind_is_a_filter_of_its_statements() -> None:
    for kind in RESULT_KINDS.values():
        assert {*kind.own_lists, *kind.own_values} <= kind.searched.filters.keys()
        assert {"metadata", "created_at_since", "created_at_until"} <= kind.searched.filters.keys()


def test_a_session_has_messages_and_memories_but_no_documents() -> None:
    within = Within(sessions=(SESSION,))
    assert MESSAGES.narrowed(within) == within
    assert MEMORIES.narrowed(within) == within
    assert DOCUMENTS.narrowed(within) is None


def test_the_objects_of_an_agent_are_searched_beside_those_of_a_session_and_of_a_user() -> None:
    within = Within(sessions=(SESSION,), beside=AGENT)
    assert MESSAGES.narrowed(within) == Within(sessions=(SESSION,))
    assert MEMORIES.narrowed(within) == within
    assert DOCUMENTS.narrowed(within) == Within(beside=AGENT)
    within = Within(user=USER, beside=AGENT)
    assert MESSAGES.narrowed(within) == Within(user=USER)
    assert MEMORIES.narrowed(within) == DOCUMENTS.narrowed(within) == within


def test_an_agent_narrows_every_kind() -> None:
    for within in (Within(agent=AGENT), Within(user=USER, agent=AGENT)):
        assert all(kind.narrowed(within) == within for kind in SEARCH_KINDS.values())


def test_nothing_stands_beside_a_whole_project() -> None:
    assert all(kind.narrowed(Within(beside=AGENT)) == Within() for kind in SEARCH_KINDS.values())


def test_a_kind_without_users_is_not_searched_for_a_user() -> None:
    of_agents = replace(DOCUMENTS, owners={"agent": DOCUMENTS.owners["agent"]})
    assert of_agents.narrowed(Within(user=USER)) is None
    assert of_agents.narrowed(Within(user=USER, beside=AGENT)) == Within(beside=AGENT)
    assert of_agents.narrowed(Within()) == Within()
