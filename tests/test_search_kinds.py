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
        assert kind.own_filter is None or kind.own_filter in kind.searched.filters
        assert {"metadata", "created_at_since", "created_at_until"} <= kind.searched.filters.keys()


def test_a_session_has_messages_and_memories_but_no_documents() -> None:
    within = Within(session=SESSION)
    assert MESSAGES.narrowed(within) == within
    assert MEMORIES.narrowed(within) == within
    assert DOCUMENTS.narrowed(within) is None


def test_an_agents_documents_are_found_with_a_session_and_with_a_user() -> None:
    assert DOCUMENTS.narrowed(Within(session=SESSION, agent=AGENT)) == Within(agent=AGENT)
    assert DOCUMENTS.narrowed(Within(user=USER, agent=AGENT)) == Within(user=USER, agent=AGENT)
    assert MESSAGES.narrowed(Within(user=USER, agent=AGENT)) == Within(user=USER)


def test_a_kind_without_users_is_not_searched_for_a_user() -> None:
    of_agents = replace(DOCUMENTS, owners={"agent": DOCUMENTS.owners["agent"]})
    assert of_agents.narrowed(Within(user=USER)) is None
    assert of_agents.narrowed(Within(user=USER, agent=AGENT)) == Within(agent=AGENT)
    assert of_agents.narrowed(Within()) == Within()
