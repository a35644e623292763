"""A user token reaches its user's objects and no others: every field and every mutation is tried on somebody else's."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
    is_union_type,
)

from schema.root import schema as strawberry_schema
from tests.documents import ERRORS, ISSUE_USER_TOKEN
from tests.places import Place
from tests.servers import Api, Server

SCHEMA: GraphQLSchema = strawberry_schema._schema  # pyright: ignore[reportPrivateUsage]
FOR_USERS = {"addMessages", "createMemory", "createSession"}

# Every text of Bob's says so, and no text of Ada's does.
SECRET = "BOBS"


def owned(mark: str, who: str, agent: str) -> list[tuple[str, dict[str, Any]]]:
    """Mutations that create a user's objects, one of each kind; all texts contain the mark."""
    return [
        ("createUser", {"userId": who, "name": f"{mark} name", "about": mark, "metadata": {mark: mark}}),
        ("createAgent", {"agentId": agent, "name": f"{mark} agent", "instructions": f"{mark} instructions"}),
        ("createSession", {"sessionId": f"{who}-1", "userId": who, "agentId": agent, "situation": mark}),
        ("createSession", {"sessionId": f"{who}-2", "userId": who, "situation": mark}),
        (
            "addMessages",
            {
                "sessionId": f"{who}-1",
                "messages": [
                    {"role": "USER", "content": f"{mark} I live in Bremen", "messageId": f"{mark}-1"},
                    {"role": "ASSISTANT", "content": f"{mark} noted", "metadata": {mark: 1}},
                ],
            },
        ),
        ("createMemory", {"userId": who, "memoryId": "m", "kind": "FACT", "content": f"{mark} lives in Bremen"}),
        ("createMemory", {"sessionId": f"{who}-1", "kind": "SUMMARY", "content": f"{mark} summary"}),
        ("createMemory", {"userId": who, "kind": "SUMMARY", "content": f"{mark} user's summary"}),
        ("createDocument", {"userId": who, "documentId": "d", "title": mark, "content": f"{mark} text"}),
        ("createDocument", {"agentId": agent, "title": f"{mark} of the agent", "content": f"{mark} text"}),
        ("createMemory", {"agentId": agent, "kind": "FACT", "content": f"{mark} of the agent"}),
    ]


def run(api: Api, name: str, given: dict[str, Any]) -> dict[str, Any]:
    kind: Any = SCHEMA.mutation_type and SCHEMA.mutation_type.fields[name]
    document = f"mutation($input: {kind.args['input'].type}) {{ {name}(input: $input) {{ {ERRORS} }} }}"
    return api.execute(document, input=given)


@pytest.fixture
def server(place: Place) -> Iterator[Server]:
    """One that answers documents with every field there is."""
    running = Server(
        place, max_query_aliases=100_000, max_query_fields=100_000, max_query_tokens=1_000_000, max_query_cost=10**9
    )
    yield running
    running.close()


@pytest.fixture
def filled(server: Server) -> Server:
    for name, given in owned("ADAS", "ada", "guide") + owned(SECRET, "bob", "critic"):
        assert run(server, name, given)["data"][name] == {"userErrors": []}, (name, given)
    ids = ids_of(server, "bob")
    sources = {"userId": "bob", "kind": "EVENT", "content": f"{SECRET} event"}
    assert run(server, "createMemory", {**sources, "sources": [ids["Message"], ids["Document"]]})["data"]
    for name, given in [
        ("createSession", {"sessionId": "nobodys", "situation": f"{SECRET} ownerless"}),
        ("addMessages", {"sessionId": "nobodys", "messages": [{"role": "USER", "content": f"{SECRET} ownerless"}]}),
        ("createSession", {"sessionId": "bob-gone", "userId": "bob", "situation": f"{SECRET} gone"}),
        ("deleteSession", {"sessionId": "bob-gone"}),
        ("createAgent", {"agentId": "idle", "name": f"{SECRET} talks to nobody"}),
    ]:
        assert run(server, name, given)["data"][name] == {"userErrors": []}, (name, given)
    return server


@pytest.fixture
def ada(filled: Server) -> Iterator[Api]:
    token = filled.accepted(ISSUE_USER_TOKEN, userId="ada")["token"]
    api = Api(filled.port, filled.place)
    api.client.headers["authorization"] = f"Bearer {token}"
    yield api
    api.close()


def ids_of(api: Api, who: str) -> dict[str, str]:
    """Global ids of a user's objects, by their types."""
    data = api.graphql(
        """query($id: String!) { user(userId: $id) { id
            sessions(first: 1, orderBy: {field: SESSION_ID, direction: ASC}) {
                nodes { id agent { id documents { nodes { id } } } messages { nodes { id } } } }
            memories { nodes { id } } documents { nodes { id } } } }""",
        id=who,
    )["user"]
    (session,) = data["sessions"]["nodes"]
    return {
        "User": data["id"],
        "Session": session["id"],
        "Agent": session["agent"]["id"],
        "Message": session["messages"]["nodes"][0]["id"],
        "Memory": data["memories"]["nodes"][0]["id"],
        "Document": data["documents"]["nodes"][0]["id"],
        "AgentDocument": session["agent"]["documents"]["nodes"][0]["id"],
    }


FORBIDDEN_FIELDS = {("Agent", "instructions"), ("Agent", "documents"), ("Agent", "memories")}


def selection(kind: Any, depth: int, *, alone: bool = True) -> str:
    """All fields of a type that can be asked for without arguments, and all of theirs, to a depth.

    Where several types stand in one place (not `alone`) their fields get names of their own.
    """
    named = get_named_type(kind)
    if is_leaf_type(named):
        return ""
    if not isinstance(named, GraphQLObjectType):
        types = named.types if is_union_type(named) else implementations(named)
        return "{ " + " ".join(f"... on {item} {selection(item, depth, alone=False)}" for item in types) + " }"
    parts = ["__typename"]
    step = not named.name.endswith(("Connection", "Edge"))
    for name, field in named.fields.items():
        required = any(isinstance(argument.type, GraphQLNonNull) for argument in field.args.values())
        too_deep = not depth and step and not is_leaf_type(get_named_type(field.type))
        if not required and not too_deep and (named.name, name) not in FORBIDDEN_FIELDS:
            alias = "" if alone else f"{name}{named.name}: "
            parts.append(f"{alias}{name} {selection(field.type, depth - step)}")
    return "{ " + " ".join(parts) + " }"


def implementations(kind: Any) -> list[Any]:
    return [item for item in SCHEMA.get_possible_types(kind) if item.name != "Viewer"]


def roots(who: str, agent: str, ids: dict[str, str]) -> dict[str, str]:
    """Every field of the query type, with the arguments that lead to a user's objects."""
    names = {"user": [f'userId: "{who}"'], "session": [f'sessionId: "{who}-1"', 'sessionId: "nobodys"'], "viewer": []}
    names |= {"agent": [f'agentId: "{agent}"', 'agentId: "idle"'], "node": [f'id: "{id}"' for id in ids.values()]}
    names |= {"nodes": [f"ids: {json.dumps(list(ids.values()))}"]}
    names |= {"search": [f'query: "{SECRET}"', f'query: "{SECRET}", userId: "{who}"']}
    query: Any = SCHEMA.query_type
    calls: dict[str, str] = {}
    for name, field in query.fields.items():
        for number, arguments in enumerate(names.get(name, [""]) or [""]):
            given = f"({arguments})" if arguments else ""
            calls[f"{name}{number}"] = f"{name}{given} {selection(field.type, 2)}"
    return calls


def test_no_field_shows_anything_of_somebody_else(filled: Server, ada: Api) -> None:
    calls = roots("bob", "critic", ids_of(filled, "bob"))
    assert any(SECRET in json.dumps(filled.execute(f"{{ {call} }}")) for call in calls.values()), "Bob's are there"
    for call in calls.values():
        answer = ada.execute(f"{{ {call} }}")
        assert SECRET not in json.dumps(answer.get("data")), call[:80]
        assert "errors" not in answer, (call[:80], answer["errors"][:2])


def test_a_user_sees_all_of_its_own_through_every_field(filled: Server, ada: Api) -> None:
    ids = {name: id for name, id in ids_of(filled, "ada").items() if name != "AgentDocument"}
    for name, call in roots("ada", "guide", ids).items():
        if "nobodys" in call or '"idle"' in call or name.startswith("search"):
            continue
        answer = ada.execute(f"{{ {call} }}")
        assert "errors" not in answer, answer["errors"][:2]
        assert "ADAS" in json.dumps(answer["data"]), call[:80]


def test_what_belongs_to_somebody_else_is_answered_like_what_is_not_there(filled: Server, ada: Api) -> None:
    statements: list[str] = []
    filled.app.state.database.listener = statements.append
    ids = ids_of(filled, "bob")

    # The token is proved once.
    ada.graphql("{ viewer { role } }")

    def asked(document: str) -> tuple[Any, list[str]]:
        statements.clear()
        answer = ada.execute(document)
        return answer, list(statements)

    for foreign, missing in [
        ('user(userId: "bob") { id sessions { totalCount } }', 'user(userId: "nobody") { id sessions { totalCount } }'),
        ('session(sessionId: "bob-1") { id }', 'session(sessionId: "none") { id }'),
        ('session(sessionId: "nobodys") { id }', 'session(sessionId: "none") { id }'),
        ('session(sessionId: "bob-gone") { id }', 'session(sessionId: "none") { id }'),
        ('agent(agentId: "critic") { id }', 'agent(agentId: "none") { id }'),
        ('agent(agentId: "idle") { id }', 'agent(agentId: "none") { id }'),
        *(
            (f'node(id: "{id}") {{ id }}', f'node(id: "{id[:5]}{"B" if id[5] != "B" else "C"}{id[6:]}") {{ id }}')
            for id in ids.values()
        ),
    ]:
        assert asked(f"{{ {foreign} }}") == asked(f"{{ {missing} }}"), foreign


def test_lists_and_their_counts_hold_the_users_own_only(ada: Api) -> None:
    data = ada.graphql(
        """{ viewer { role user { userId } } users { totalCount nodes { userId } }
        sessions { totalCount nodes { sessionId } } agents { totalCount nodes { agentId sessions { totalCount } } } }"""
    )
    assert data["viewer"] == {"role": "USER", "user": {"userId": "ada"}}
    assert data["users"] == {"totalCount": 1, "nodes": [{"userId": "ada"}]}
    assert data["sessions"]["totalCount"] == 2
    assert data["agents"] == {"totalCount": 1, "nodes": [{"agentId": "guide", "sessions": {"totalCount": 1}}]}


def test_an_agent_whom_two_users_share_tells_neither_of_the_other(filled: Server, ada: Api) -> None:
    assert run(filled, "updateSession", {"sessionId": "bob-2", "agentId": "guide"})["data"]
    data = ada.graphql('{ agent(agentId: "guide") { sessions { totalCount nodes { sessionId } } } }')
    assert data["agent"]["sessions"] == {"totalCount": 1, "nodes": [{"sessionId": "ada-1"}]}


def test_a_memory_that_names_a_message_of_another_user_shows_neither_to_the_other(filled: Server, ada: Api) -> None:
    """A session that changes its owner takes its memories along; what others knew from it stays theirs."""
    message = ids_of(filled, "ada")["Message"]
    made = run(filled, "createSession", {"sessionId": "shared", "situation": "x"})
    assert made["data"]
    given = {"sessionId": "shared", "messages": [{"role": "USER", "content": "said in the open"}]}
    assert run(filled, "addMessages", given)["data"]
    id = filled.graphql('{ session(sessionId: "shared") { messages { nodes { id } } } }')["session"]["messages"][
        "nodes"
    ][0]["id"]
    memory = {"userId": "bob", "kind": "FACT", "content": f"{SECRET} from the open", "sources": [id]}
    assert run(filled, "createMemory", memory)["data"]["createMemory"] == {"userErrors": []}
    assert run(filled, "updateSession", {"sessionId": "shared", "userId": "ada"})["data"]
    data = ada.graphql(
        "query($ids: [ID!]!) { nodes(ids: $ids) { ... on Message { memories { totalCount } } } }", ids=[id, message]
    )
    assert data == {"nodes": [{"memories": {"totalCount": 0}}] * 2}


@pytest.mark.parametrize(
    "field",
    [
        f'agent(agentId: "guide") {{ {field} }}'
        for field in ("instructions", "documents { totalCount }", "memories { nodes { id } }")
    ],
)
def test_what_of_an_agent_is_not_for_users_is_forbidden(ada: Api, field: str) -> None:
    (error,) = ada.errors(f"{{ {field} }}")
    assert error["extensions"]["code"] == "FORBIDDEN"
    assert error["path"][0] == "agent"


def test_deleted_sessions_are_not_for_users(ada: Api) -> None:
    for field in ("sessions", 'user(userId: "ada") { sessions', 'agent(agentId: "guide") { sessions'):
        closing = " }" if "{" in field else ""
        (error,) = ada.errors(f"{{ {field}(filter: {{deleted: true}}) {{ totalCount }}{closing} }}")
        assert error["extensions"]["code"] == "FORBIDDEN"


def example(kind: Any, name: str, ids: dict[str, str]) -> Any:
    """A value of an input type that names Bob's objects wherever it can."""
    if isinstance(kind, GraphQLNonNull):
        return example(kind.of_type, name, ids)
    if isinstance(kind, GraphQLList):
        return [example(kind.of_type, name, ids)]
    if isinstance(kind, GraphQLEnumType):
        return "USER" if "USER" in kind.values else next(iter(kind.values))
    if isinstance(kind, GraphQLInputObjectType):
        return {
            key: example(field.type, key, ids)
            for key, field in kind.fields.items()
            if isinstance(field.type, GraphQLNonNull) or key in ("userId", "agentId", "content")
        }
    named = {"userId": "bob", "sessionId": "bob-1", "agentId": "critic", "id": ids["Message"]}
    scalars = {"Int": 1, "Float": 0.5, "Boolean": True, "DateTime": "2100-01-01T00:00:00Z", "JSON": {}}
    return named.get(name, scalars.get(kind.name, "text"))


def mutations() -> dict[str, GraphQLField]:
    assert SCHEMA.mutation_type is not None
    return SCHEMA.mutation_type.fields


@pytest.mark.parametrize("name", sorted(mutations()))
def test_no_mutation_touches_anything_of_somebody_else(filled: Server, ada: Api, name: str) -> None:
    ids = ids_of(filled, "bob")
    given = example(mutations()[name].args["input"].type, "input", ids)
    kinds = {"Memory": "Memory", "Document": "Document", "Message": "Message"}
    for noun in kinds:
        if name.endswith(noun) and "id" in given:
            given["id"] = ids[noun]
    if name == "createMemory":
        del given["agentId"]
    before = filled.tables()
    answer = run(ada, name, given)
    assert filled.tables() == before, f"{name} changed something"
    if name in FOR_USERS:
        (fault,) = answer["data"][name]["userErrors"]
        assert fault["code"] in ("NOT_FOUND", "ALREADY_EXISTS"), fault
    else:
        (error,) = answer["errors"]
        assert error["extensions"]["code"] == "FORBIDDEN"
        assert error["path"] == [name]
        assert answer["data"] is None


def test_a_user_adds_messages_to_its_own_sessions_and_begins_new_ones(filled: Server, ada: Api) -> None:
    say = {"messages": [{"role": "USER", "content": "Hello"}]}
    for session in ("ada-1", "ada-new"):
        assert run(ada, "addMessages", {"sessionId": session, **say})["data"]["addMessages"] == {"userErrors": []}
        owner = filled.graphql("query($id: String!) { session(sessionId: $id) { user { userId } } }", id=session)
        assert owner == {"session": {"user": {"userId": "ada"}}}
    assert run(ada, "createSession", {"situation": "new", "agentId": "guide"})["data"]["createSession"] == {
        "userErrors": []
    }
    memory = {"kind": "FACT", "content": "I like tea"}
    assert run(ada, "createMemory", memory)["data"]["createMemory"] == {"userErrors": []}
    data = filled.graphql('{ user(userId: "ada") { sessions { totalCount } memories { nodes { content } } } }')["user"]
    assert data["sessions"]["totalCount"] == 4
    assert {"content": "I like tea"} in data["memories"]["nodes"]


@pytest.mark.parametrize("session", ["bob-1", "bob-gone", "nobodys"])
def test_messages_for_a_session_that_is_not_the_users_own_find_none(filled: Server, ada: Api, session: str) -> None:
    before = filled.tables()
    answer = run(ada, "addMessages", {"sessionId": session, "messages": [{"role": "USER", "content": "Hello"}]})
    (fault,) = answer["data"]["addMessages"]["userErrors"]
    assert (fault["code"], fault["path"]) == ("NOT_FOUND", ["sessionId"])
    assert filled.tables() == before


@pytest.mark.parametrize(
    ("name", "given", "path"),
    [
        ("addMessages", {"messages": [{"role": "ASSISTANT", "content": "x"}]}, ["messages", "0", "role"]),
        ("addMessages", {"messages": [{"role": "SYSTEM", "content": "x"}]}, ["messages", "0", "role"]),
        ("addMessages", {"messages": [{"role": "DEVELOPER", "content": "x"}]}, ["messages", "0", "role"]),
        (
            "addMessages",
            {"messages": [{"role": "USER", "content": "x", "createdAt": "2020-01-01T00:00:00Z"}]},
            ["messages", "0", "createdAt"],
        ),
        ("createSession", {"createdAt": "2020-01-01T00:00:00Z"}, ["createdAt"]),
        ("createSession", {"lastActivityAt": "2020-01-01T00:00:00Z"}, ["lastActivityAt"]),
        ("createMemory", {"kind": "FACT", "content": "x", "createdAt": "2020-01-01T00:00:00Z"}, ["createdAt"]),
    ],
)
def test_a_value_that_only_the_application_may_give_is_refused(
    filled: Server, ada: Api, name: str, given: dict[str, Any], path: list[str]
) -> None:
    before = filled.tables()
    answer = run(ada, name, {**({} if name == "createMemory" else {"sessionId": "ada-fresh"}), **given})
    (fault,) = answer["data"][name]["userErrors"]
    assert (fault["code"], fault["path"]) == ("FORBIDDEN", path)
    assert filled.tables() == before


@pytest.mark.parametrize("key", ["bob-1", "bob-gone", "nobodys"])
def test_a_session_key_that_is_taken_is_the_one_trace_of_somebody_else(filled: Server, ada: Api, key: str) -> None:
    before = filled.tables()
    (fault,) = run(ada, "createSession", {"sessionId": key})["data"]["createSession"]["userErrors"]
    assert fault["code"] == "ALREADY_EXISTS"
    assert filled.tables() == before


def test_sources_of_somebody_else_are_not_there(filled: Server, ada: Api) -> None:
    ids = ids_of(filled, "bob")
    for noun in ("Message", "Document", "AgentDocument"):
        given = {"kind": "FACT", "content": "x", "sources": [ids[noun]]}
        (fault,) = run(ada, "createMemory", given)["data"]["createMemory"]["userErrors"]
        assert (fault["code"], fault["path"]) == ("NOT_FOUND", ["sources", "0"])
    given = {"kind": "FACT", "content": "x", "supersedes": [ids["Memory"]]}
    (fault,) = run(ada, "createMemory", given)["data"]["createMemory"]["userErrors"]
    assert (fault["code"], fault["path"]) == ("NOT_FOUND", ["supersedes", "0"])


def test_a_cursor_of_somebody_elses_list_is_foreign(filled: Server, ada: Api) -> None:
    cursor = filled.graphql("{ sessions(first: 1) { edges { cursor } } }")["sessions"]["edges"][0]["cursor"]
    (error,) = ada.errors(f'{{ sessions(after: "{cursor}") {{ nodes {{ id }} }} }}')
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


def test_the_token_of_an_erased_user_is_refused(filled: Server, ada: Api) -> None:
    assert run(filled, "deleteUser", {"userId": "ada"})["data"]["deleteUser"] == {"userErrors": []}
    response = ada.post({"query": "{ viewer { role } }"})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert run(filled, "createUser", {"userId": "ada"})["data"]["createUser"] == {"userErrors": []}
    assert ada.post({"query": "{ viewer { role } }"}).status_code == 401
