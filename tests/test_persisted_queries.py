"""Automatic persisted queries: a document is sent once, then named by its hash (Apollo's protocol)."""

from hashlib import sha256
from typing import Any

from tests.servers import Server

QUERY = "query ($id: String!) { user(userId: $id) { userId } }"


def extensions(query: str, hash: str | None = None) -> dict[str, Any]:
    return {"persistedQuery": {"version": 1, "sha256Hash": hash or sha256(query.encode()).hexdigest()}}


def test_a_document_is_named_by_its_hash_once_it_was_sent(server: Server) -> None:
    server.graphql('mutation { createUser(input: {userId: "ada"}) { userErrors { code } } }')
    by_hash = {"extensions": extensions(QUERY), "variables": {"id": "ada"}}
    (error,) = server.post(by_hash).json()["errors"]
    assert (error["message"], error["extensions"]["code"]) == ("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
    assert server.post({"query": QUERY, **by_hash}).json() == {"data": {"user": {"userId": "ada"}}}
    assert server.post(by_hash).json() == {"data": {"user": {"userId": "ada"}}}


def test_a_document_under_another_hash_is_refused_and_not_kept(server: Server) -> None:
    wrong = extensions(QUERY, "0" * 64)
    (error,) = server.post({"query": QUERY, "extensions": wrong, "variables": {"id": "x"}}).json()["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    (error,) = server.post({"extensions": wrong, "variables": {"id": "x"}}).json()["errors"]
    assert error["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"


def test_a_persisted_query_of_another_version_or_form_is_a_bad_request(server: Server) -> None:
    for persisted in (5, {}, {"version": 2, "sha256Hash": "0" * 64}, {"version": 1, "sha256Hash": 7}):
        response = server.post({"query": QUERY, "extensions": {"persistedQuery": persisted}})
        assert response.status_code == 400, persisted
        assert response.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


def test_a_persisted_mutation_is_not_carried_out_by_get(server: Server) -> None:
    mutation = 'mutation { createUser(input: {userId: "eve"}) { userErrors { code } } }'
    hashed = extensions(mutation)["persistedQuery"]["sha256Hash"]
    server.post({"query": mutation, "extensions": extensions(mutation)})
    named = f'{{"persistedQuery":{{"version":1,"sha256Hash":"{hashed}"}}}}'
    response = server.client.get(server.url, params={"extensions": named})
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
