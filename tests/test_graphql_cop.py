"""The checks of the security auditor graphql-cop (1.15), with its own requests and criteria.

It is given a server as one would put it where strangers can reach it: without introspection and playground, and with
limits that its sizes exceed. No registry has it, so its thirteen checks (the twelve that it lists, and one for
unhandled errors) are rewritten here: each asks for something that must be refused.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.places import Fresh
from tests.servers import Process, free_port

pytestmark = pytest.mark.once

SETTINGS = {
    "RECALLQL_INTROSPECTION": "false",
    "RECALLQL_PLAYGROUND": "false",
    "RECALLQL_MAX_QUERY_ALIASES": "100",
    "RECALLQL_MAX_QUERY_DIRECTIVES": "9",
    "RECALLQL_MAX_QUERY_FIELDS": "499",
}


@pytest.fixture(scope="module")
def hardened(shared: Fresh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    log = tmp_path_factory.mktemp("hardened") / "recallql.log"
    running = Process(shared(), free_port(), [], SETTINGS, log)
    running.wait_until_ready()
    yield running
    running.close()


@pytest.fixture
def cop(hardened: Process) -> Iterator["Cop"]:
    client = httpx.Client(headers={"user-agent": "graphql-cop/1.15", "accept": "*/*"}, trust_env=False, timeout=60)
    with client:
        yield Cop(client, hardened.base)


class Cop:
    """Sends what graphql-cop sends."""

    def __init__(self, client: httpx.Client, base: str) -> None:
        self.client = client
        self.base = base
        self.url = f"{base}/graphql"

    def query(self, document: str) -> dict[str, Any]:
        answer = self.client.post(self.url, json={"query": document, "operationName": "cop"}).json()
        assert isinstance(answer, dict)
        return answer

    def data(self, document: str) -> dict[str, Any]:
        """The data of an answer, an empty object when there is none."""
        return self.query(document).get("data") or {}


def test_it_knows_the_server_for_a_graphql_server(cop: Cop) -> None:
    assert cop.data("query cop { __typename }") == {"__typename": "Query"}


# Denial of service


def test_a_query_may_not_have_101_aliases(cop: Cop) -> None:
    aliases = " ".join(f"alias{number}:__typename \n" for number in range(101))
    assert "alias100" not in cop.data(f"query cop {{ {aliases} }}")


def test_no_batch_of_ten_queries_is_taken(cop: Cop) -> None:
    answer = cop.client.post(cop.url, json=[{"query": "query cop { __typename }"}] * 10).json()
    assert not isinstance(answer, list)
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


def test_a_field_may_not_be_repeated_500_times(cop: Cop) -> None:
    assert "__typename" not in cop.data("query cop { " + "__typename \n" * 500 + "} ")


def test_directives_may_not_be_repeated_ten_times(cop: Cop) -> None:
    errors = cop.query("query cop { __typename " + "@aa" * 10 + " }")["errors"]
    assert 1 <= len(errors) < 10


def test_introspection_does_not_go_in_circles(cop: Cop) -> None:
    circle = "name"
    for _ in range(4):
        circle = f"fields {{ type {{ {circle} }} }}"
    assert (
        len(cop.data(f"query cop {{ __schema {{ types {{ {circle} }} }} }}").get("__schema", {}).get("types", [])) < 25
    )


# Leaks of information


def test_introspection_is_off(cop: Cop) -> None:
    assert "__schema" not in cop.data("query cop { __schema { types { name fields { name } } } }")


def test_no_field_is_suggested(cop: Cop) -> None:
    for document in ("query cop { __schema { directive } }", "query cop { viewr { role } }"):
        assert cop.query(document)["errors"]
        assert all("Did you mean" not in error["message"] for error in cop.query(document)["errors"])


@pytest.mark.parametrize("path", ["/graphiql", "/playground", "/console", "/graphql"])
def test_no_playground_is_found(cop: Cop, path: str) -> None:
    answer = cop.client.get(cop.base + path, follow_redirects=True)
    for word in ("graphiql.min.css", "GraphQL Playground", "GraphiQL", "graphql-playground"):
        assert answer.is_error or word not in answer.text


def test_no_playground_is_found_by_a_browser_either(cop: Cop) -> None:
    answer = cop.client.get(cop.url, headers={"accept": "text/html"})
    assert answer.is_error
    assert "html" not in answer.text


def test_no_answer_is_traced(cop: Cop) -> None:
    for document in ("query cop { __typename }", "query cop { unknown }", "query cop {"):
        answer = cop.query(document)
        assert "extensions" not in answer
        assert all(error["extensions"].keys() == {"code"} for error in answer.get("errors", []))
        assert "stacktrace" not in str(answer).lower()


def test_an_error_is_handled(cop: Cop) -> None:
    (error,) = cop.query("qwerty cop { abc }")["errors"]
    assert error["extensions"] == {"code": "GRAPHQL_PARSE_FAILED"}


# Forged requests


def test_no_mutation_is_carried_out_by_get(cop: Cop) -> None:
    answer = cop.client.get(cop.url, params={"query": "mutation cop {__typename}"})
    assert answer.status_code == 405
    assert "data" not in answer.json()


def test_no_query_is_taken_from_an_encoded_form(cop: Cop) -> None:
    for answer in (
        cop.client.post(cop.url, data={"query": "query cop {__typename}"}),
        cop.client.post(cop.url, params={"query": "query cop {__typename}"}),
    ):
        assert answer.status_code == 415
        assert "data" not in answer.json()


def test_no_query_is_answered_that_another_site_has_a_browser_get(cop: Cop) -> None:
    """graphql-cop reports every server that takes queries by GET, which the audits of GraphQL over HTTP ask for.

    What it warns of is a page that has its reader's browser send the request: that one is refused.
    """
    forged = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    answer = cop.client.get(cop.url, params={"query": "query cop {__typename}"}, headers=forged)
    assert answer.status_code == 403
    assert "data" not in answer.json()
