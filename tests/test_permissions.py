"""The permissions of user tokens: every mutation and every field is tried with every set of them."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
    is_required_argument,
)

from models.keys import user_key
from models.scope import Scope
from resolvers.errors import Forbidden
from resolvers.grants import EVERYTHING
from resolvers.operation_context import OperationContext
from resolvers.permissions import carry_out
from resolvers.sessions import create_session
from resolvers.users import delete_user
from schema.root import schema as strawberry_schema
from tests.desk import Desk
from tests.documentation import PAGES, names_in, rows_of
from tests.documents import ERRORS, ISSUE_USER_TOKEN
from tests.servers import Api, Server

SCHEMA: GraphQLSchema = strawberry_schema._schema  # pyright: ignore[reportPrivateUsage]
EVERY = ("READ", "WRITE", "MANAGE")
SETS = [set for size in (1, 2, 3) for set in itertools.combinations(EVERY, size)]

TAKES = {
    "createUser": None,
    "updateUser": None,
    "upsertUser": None,
    "deleteUser": None,
    "renameUser": None,
    "mergeUsers": None,
    "createSession": "WRITE",
    "updateSession": "MANAGE",
    "upsertSession": None,
    "endSession": "MANAGE",
    "reopenSession": "MANAGE",
    "deleteSession": "MANAGE",
    "cloneSession": "MANAGE",
    "deleteInactiveSessions": None,
    "addMessages": "WRITE",
    "updateMessage": "MANAGE",
    "deleteMessage": "MANAGE",
    "deleteMessages": None,
    "createMemory": "WRITE",
    "updateMemory": "MANAGE",
    "upsertMemory": "MANAGE",
    "deleteMemory": "MANAGE",
    "deleteMemories": "MANAGE",
    "createDocument": None,
    "updateDocument": None,
    "deleteDocument": None,
    "deleteDocuments": None,
    "createAgent": None,
    "updateAgent": None,
    "upsertAgent": None,
    "deleteAgent": None,
    "issueUserToken": None,
    "purgeDeleted": None,
}
"""The permission that each mutation takes; None where no user token permits it. A new mutation has its line here."""
FOR_USERS = [name for name, permission in TAKES.items() if permission is not None]

FOR_THE_SERVICE = {
    ("createSession", "createdAt"),
    ("createSession", "lastActivityAt"),
    ("createMemory", "createdAt"),
    ("createMemory", "agentId"),
    ("upsertMemory", "agentId"),
    ("updateSession", "userId"),
    ("updateSession", "agentId"),
    ("updateSession", "tokenBudget"),
    ("updateSession", "contextOverflow"),
    ("deleteSession", "permanently"),
    ("messages", "createdAt"),
}
"""The fields of these mutations, and of messages, that only the application itself may give."""


def fields_of(name: str) -> dict[str, Any]:
    kind: Any = SCHEMA.type_map[name]
    return kind.fields


def input_of(name: str) -> Any:
    return get_named_type(fields_of("Mutation")[name].args["input"].type)


def payload_of(name: str) -> Any:
    return get_named_type(fields_of("Mutation")[name].type)


def document(name: str, selection: str = ERRORS) -> str:
    return f"mutation ($input: {input_of(name)}!) {{ {name}(input: $input) {{ {selection} }} }}"


def example(kind: Any) -> Any:
    """A value of an input type, with the fields that it requires."""
    if isinstance(kind, GraphQLNonNull):
        return example(kind.of_type)
    if isinstance(kind, GraphQLList):
        return [example(kind.of_type)]
    if isinstance(kind, GraphQLEnumType):
        return "USER" if "USER" in kind.values else next(iter(kind.values))
    if isinstance(kind, GraphQLInputObjectType):
        return {name: example(field.type) for name, field in kind.fields.items() if is_required_argument(field)}
    scalars = {"Int": 1, "Float": 0.5, "Boolean": True, "DateTime": "2100-01-01T00:00:00Z", "JSON": {}}
    return scalars.get(kind.name, "none")


def filled(api: Server, who: str) -> dict[str, Any]:
    """Creates a user's session with messages of every role and two memories; returns their ids."""
    roles = list(fields_of_enum("Role"))
    session = {"sessionId": f"{who}-1", "userId": who}
    say = [{"role": role, "content": f"{role} speaks"} for role in roles]
    api.accepted(document("upsertUser"), userId=who)
    api.accepted(document("createSession"), **session)
    added = api.accepted(document("addMessages", f"messages {{ id }} {ERRORS}"), **session, messages=say)
    memory = document("createMemory", f"memory {{ id }} {ERRORS}")
    memories = [api.accepted(memory, userId=who, kind="FACT", content=f"fact {n}")["memory"]["id"] for n in range(2)]
    messages = {role: one["id"] for role, one in zip(roles, added["messages"], strict=True)}
    return {"session": f"{who}-1", "messages": messages, "memories": memories, "user": who}


def fields_of_enum(name: str) -> dict[str, Any]:
    kind: Any = SCHEMA.type_map[name]
    return kind.values


def inputs(of: dict[str, Any], new: str) -> dict[str, dict[str, Any]]:
    """Inputs of the mutations that users may run, which change these objects, in an order in which each succeeds."""
    session, message, (first, second) = {"sessionId": of["session"]}, of["messages"]["USER"], of["memories"]
    return {
        "createSession": {"sessionId": new},
        "addMessages": {**session, "messages": [{"role": "USER", "content": "Hello"}]},
        "createMemory": {**session, "kind": "FACT", "content": "I like tea"},
        "updateSession": {**session, "situation": "At home", "metadata": {"title": "Tea"}, "expectedVersion": 1},
        "cloneSession": {**session, "newSessionId": f"{new}-clone"},
        "endSession": session,
        "reopenSession": session,
        "updateMessage": {"id": message, "content": "I moved to Turin", "tokenCount": 3},
        "deleteMessage": {"id": message},
        "updateMemory": {"id": first, "content": "I prefer tea", "expiresAt": "2100-01-01T00:00:00Z"},
        "upsertMemory": {**session, "memoryId": "drink", "kind": "FACT", "content": "I drink tea"},
        "deleteMemory": {"id": second},
        "deleteMemories": session,
        "deleteSession": {**session, "permanently": False},
    }


class Users:
    """A server with two users, and clients with their tokens."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.ada = filled(server, "ada")
        self.bob = filled(server, "bob")
        self._clients: list[Api] = []

    def client(self, *permissions: str, user: str = "ada") -> Api:
        given = {"permissions": list(permissions)} if permissions else {}
        issued = self.server.accepted(ISSUE_USER_TOKEN, userId=user, **given)
        api = Api(self.server.port, self.server.place)
        api.client.headers["authorization"] = f"Bearer {issued['token']}"
        self._clients.append(api)
        return api

    def close(self) -> None:
        for client in self._clients:
            client.close()


@pytest.fixture
def users(server: Server) -> Iterator[Users]:
    two = Users(server)
    yield two
    two.close()


def unchanged(users: Users, api: Api, name: str, given: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The answer to a mutation that must not change anything."""
    before = users.server.tables()
    answer = api.execute(document(name, **more), input=given)
    assert users.server.tables() == before, f"{name} changed something"
    return answer


def codes(answer: dict[str, Any]) -> list[str]:
    return [error["extensions"]["code"] for error in answer["errors"]]


# Tokens


def test_a_token_reads_and_writes_unless_it_says_otherwise_and_the_application_may_do_everything(users: Users) -> None:
    asked = "{ viewer { role permissions } }"
    assert users.server.graphql(asked)["viewer"] == {"role": "SERVICE", "permissions": list(EVERY)}
    assert users.client().graphql(asked)["viewer"] == {"role": "USER", "permissions": ["READ", "WRITE"]}
    for permissions in SETS:
        if "READ" in permissions:
            assert users.client(*permissions).graphql(asked)["viewer"]["permissions"] == list(permissions)
    for same in (["MANAGE", "READ", "MANAGE", "READ"], ["READ", "MANAGE"]):
        assert users.client(*same).graphql(asked)["viewer"]["permissions"] == ["READ", "MANAGE"]


def test_null_permissions_are_those_of_a_token_that_names_none(server: Server) -> None:
    filled(server, "ada")
    api = Api(server.port, server.place)
    token = server.accepted(ISSUE_USER_TOKEN, userId="ada", permissions=None)["token"]
    api.client.headers["authorization"] = f"Bearer {token}"
    assert api.graphql("{ viewer { permissions } }")["viewer"]["permissions"] == ["READ", "WRITE"]
    api.close()


def test_a_token_without_any_permission_is_not_issued(users: Users) -> None:
    error = users.server.refused(ISSUE_USER_TOKEN, userId="ada", permissions=[])
    assert (error["code"], error["path"]) == ("INVALID", ["permissions"])
    for wrong in (["read"], ["ADMIN"], [None]):
        (error,) = users.server.errors(ISSUE_USER_TOKEN, input={"userId": "ada", "permissions": wrong})
        assert error["extensions"]["code"] == "BAD_USER_INPUT"


# Mutations


def test_every_mutation_of_the_schema_has_its_line_in_this_file() -> None:
    assert set(TAKES) == set(fields_of("Mutation"))
    assert set(inputs({"session": "", "messages": {"USER": ""}, "memories": ["", ""]}, "")) == set(FOR_USERS)


@pytest.mark.parametrize("permissions", SETS, ids="-".join)
def test_a_token_runs_the_mutations_of_its_permissions_and_no_others(
    users: Users, permissions: tuple[str, ...]
) -> None:
    api = users.client(*permissions)
    own = inputs(users.ada, "new")
    for name in (*own, *(set(TAKES) - set(own))):
        given = own.get(name) or example(input_of(name))
        if TAKES[name] in permissions:
            answer = api.execute(document(name), input=given)
            assert answer == {"data": {name: {"userErrors": []}}}, name
        else:
            answer = unchanged(users, api, name, given)
            assert (codes(answer), answer["data"]) == (["FORBIDDEN"], None)
            lacks = TAKES[name] or "application's own key"
            assert lacks in answer["errors"][0]["message"]


@pytest.mark.parametrize("name", FOR_USERS)
def test_what_is_not_the_users_own_is_like_what_is_not_there(users: Users, name: str) -> None:
    api = users.client(*EVERY)
    foreign = inputs(users.bob, "bob-1")[name]
    answer = unchanged(users, api, name, foreign)
    (fault,) = answer["data"][name]["userErrors"]
    if name == "createSession":
        assert fault["code"] == "ALREADY_EXISTS", "the one trace of somebody else"
        return
    assert fault["code"] == "NOT_FOUND"
    if name != "addMessages":
        missing = inputs({"session": "none", "messages": {"USER": "none"}, "memories": ["none", "none"]}, "none")[name]
        assert unchanged(users, api, name, missing) == answer


def test_memories_are_deleted_for_the_user_itself_and_for_nobody_else(users: Users) -> None:
    api = users.client("MANAGE")
    for other in ("bob", "nobody"):
        (fault,) = unchanged(users, api, "deleteMemories", {"userId": other})["data"]["deleteMemories"]["userErrors"]
        assert (fault["code"], fault["path"]) == ("NOT_FOUND", ["userId"])
    deleted = api.graphql(document("deleteMemories", "deletedMemoryIds"), input={"userId": "ada"})
    assert sorted(deleted["deleteMemories"]["deletedMemoryIds"]) == sorted(users.ada["memories"])


@pytest.mark.parametrize("role", sorted(fields_of_enum("Role")))
@pytest.mark.parametrize("name", ["updateMessage", "deleteMessage"])
def test_only_messages_of_role_user_are_changed(users: Users, name: str, role: str) -> None:
    api = users.client(*EVERY)
    given = {"id": users.ada["messages"][role]} | ({"content": "x"} if name == "updateMessage" else {})
    if role == "USER":
        assert api.accepted(document(name), **given)
        return
    (fault,) = unchanged(users, api, name, given)["data"][name]["userErrors"]
    assert (fault["code"], fault["path"]) == ("FORBIDDEN", ["id"])
    (fault,) = unchanged(users, api, name, given | {"id": users.bob["messages"][role]})["data"][name]["userErrors"]
    assert fault["code"] == "NOT_FOUND", "the role of somebody else's message is not told"


@pytest.mark.once
@pytest.mark.parametrize("name", FOR_USERS)
def test_a_field_that_only_the_application_may_give_is_refused_with_its_path(users: Users, name: str) -> None:
    """Every field of every input is tried, and so a new one has to be decided upon."""
    api = users.client(*EVERY)
    own = inputs(users.ada, "new")[name]
    for field, definition in input_of(name).fields.items():
        given = own | {field: own.get(field) or example(definition.type)}
        if (name, field) in FOR_THE_SERVICE:
            given[field] = given[field] or True
            (fault,) = unchanged(users, api, name, given)["data"][name]["userErrors"]
            assert (fault["code"], fault["path"]) == ("FORBIDDEN", [field])
        else:
            faults = api.graphql(document(name), input=given)[name]["userErrors"]
            assert [fault for fault in faults if fault["code"] == "FORBIDDEN"] == [], field


@pytest.mark.once
@pytest.mark.parametrize("field", [name for name in fields_of("MessageInput") if name != "role"])
def test_a_user_may_give_every_field_of_a_message_but_its_time(users: Users, field: str) -> None:
    message = {"role": "USER", "content": "Hello", field: example(fields_of("MessageInput")[field].type)}
    faults = users.client("WRITE").graphql(document("addMessages"), input={"sessionId": "s", "messages": [message]})
    forbidden = [one["path"] for one in faults["addMessages"]["userErrors"] if one["code"] == "FORBIDDEN"]
    assert forbidden == ([["messages", "0", field]] if ("messages", field) in FOR_THE_SERVICE else [])


def test_null_clears_in_an_update_and_is_a_field_left_out_elsewhere(users: Users) -> None:
    api = users.client(*EVERY)
    for field in ("userId", "agentId", "tokenBudget", "contextOverflow"):
        given = {"sessionId": "ada-1", field: None}
        (fault,) = unchanged(users, api, "updateSession", given)["data"]["updateSession"]["userErrors"]
        assert (fault["code"], fault["path"]) == ("FORBIDDEN", [field])
    api.accepted(document("updateSession"), sessionId="ada-1", situation=None)
    api.accepted(document("createSession"), sessionId="new", createdAt=None, lastActivityAt=None)
    api.accepted(document("createMemory"), kind="FACT", content="x", createdAt=None)
    api.accepted(document("deleteSession"), sessionId="ada-1", permanently=None)


def test_a_session_that_a_user_deletes_is_still_there_for_the_application(users: Users) -> None:
    users.client("MANAGE").accepted(document("deleteSession"), sessionId="ada-1")
    listed = users.server.graphql("{ sessions(filter: {deleted: true}) { nodes { sessionId } } }")
    assert listed["sessions"]["nodes"] == [{"sessionId": "ada-1"}]
    (fault,) = users.client("MANAGE").graphql(document("updateSession"), input={"sessionId": "ada-1"})["updateSession"][
        "userErrors"
    ]
    assert fault["code"] == "NOT_FOUND"


# Without READ

QUERIES = {
    "viewer": "viewer { role }",
    "node": 'node(id: "x") { id }',
    "nodes": "nodes(ids: []) { id }",
    "user": 'user(userId: "ada") { id }',
    "users": "users { totalCount }",
    "session": 'session(sessionId: "ada-1") { id }',
    "sessions": "sessions { nodes { id } }",
    "agent": 'agent(agentId: "none") { id }',
    "agents": "agents { totalCount }",
    "search": 'search(query: "tea") { edges { score } }',
}


@pytest.fixture
def blind(users: Users) -> Api:
    """A client that may do everything but read."""
    return users.client("WRITE", "MANAGE")


def test_every_query_is_listed_here() -> None:
    assert set(QUERIES) == set(fields_of("Query"))


@pytest.mark.once
@pytest.mark.parametrize("name", QUERIES)
def test_without_read_no_query_is_answered(blind: Api, name: str) -> None:
    for query in (
        f"{{ {QUERIES[name]} }}",
        f"{{ x: {QUERIES[name]} }}",
        f"{{ ...F }} fragment F on Query {{ ... on Query {{ {QUERIES[name]} }} }}",
        f"{{ {QUERIES[name]} __schema {{ queryType {{ name }} }} }}",
    ):
        answer = blind.execute(query)
        assert answer["data"] is None
        assert codes(answer)[0] == "FORBIDDEN"
        assert f"`Query.{name}`" in answer["errors"][0]["message"]
    response = blind.post({"query": f"{{ {QUERIES[name]} }}"}, {"accept": "application/graphql-response+json"})
    assert response.status_code == 294


def test_without_read_the_schema_and_types_may_be_asked_for(blind: Api) -> None:
    data = blind.graphql(
        '{ __typename __schema { types { ...T } } __type(name: "User") { ...T } } fragment T on __Type { name }'
    )
    assert data["__typename"] == "Query"
    assert data["__type"] == {"name": "User"}


def leaves_of(kind: Any) -> list[str]:
    """The scalars of a payload, and of the objects and edges that it has."""
    found: list[str] = []
    for name, field in kind.fields.items():
        named = get_named_type(field.type)
        if is_leaf_type(named):
            found.append(name)
        elif isinstance(named, GraphQLObjectType) and readable(kind, name):
            found.append(f"{name} {{ {' '.join(leaves_of(named))} }}")
    return found


WRITTEN = {
    ("CreateSessionPayload", "session"),
    ("UpdateSessionPayload", "session"),
    ("CloneSessionPayload", "session"),
    ("EndSessionPayload", "session"),
    ("ReopenSessionPayload", "session"),
    ("AddMessagesPayload", "session"),
    ("AddMessagesPayload", "messages"),
    ("AddMessagesPayload", "messageEdges"),
    ("MessageEdge", "node"),
    ("UpdateMessagePayload", "message"),
    ("CreateMemoryPayload", "memory"),
    ("UpdateMemoryPayload", "memory"),
    ("UpsertMemoryPayload", "memory"),
}


def readable(parent: Any, field: str) -> bool:
    return field == "userErrors" or (parent.name, field) in WRITTEN


def test_without_read_a_payload_gives_the_scalars_of_what_was_written(users: Users, blind: Api) -> None:
    for name, given in inputs(users.ada, "new").items():
        selection = " ".join(leaves_of(payload_of(name)))
        payload = blind.graphql(document(name, selection), input=given)[name]
        assert payload["userErrors"] == []
        assert [value for key, value in payload.items() if key != "userErrors" and value is not None], name


def unreadable(kind: Any, seen: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    """The type, the field and a selection of each field that takes READ, among what a payload can select."""
    for name, field in kind.fields.items():
        named = get_named_type(field.type)
        if is_leaf_type(named):
            continue
        if readable(kind, name):
            for parent, below, selection in unreadable(named, (*seen, name)):
                yield parent, below, f"{name} {{ {selection} }}"
        elif not any(is_required_argument(argument) for argument in field.args.values()):
            yield kind.name, name, f"{name} {{ __typename }}"


@pytest.mark.once
@pytest.mark.parametrize("name", FOR_USERS)
def test_without_read_selecting_anything_else_is_refused_before_anything_is_written(
    users: Users, blind: Api, name: str
) -> None:
    given = inputs(users.ada, "new")[name]
    refused = list(unreadable(payload_of(name)))
    if name == "addMessages":
        named = {f"{parent}.{field}" for parent, field, _ in refused}
        assert {"AddMessagesPayload.memories", "Session.messages", "Session.context", "Message.session"} <= named
    for parent, field, selection in refused:
        answer = unchanged(users, blind, name, given, selection=f"{selection} {ERRORS}")
        (error,) = answer["errors"]
        assert answer["data"] is None
        assert (error["extensions"]["code"], f"`{parent}.{field}`" in error["message"]) == ("FORBIDDEN", True)
        assert error["locations"]


@pytest.mark.once
def test_a_selection_is_refused_in_fragments_under_aliases_and_where_it_is_skipped(users: Users, blind: Api) -> None:
    given = inputs(users.ada, "new")["addMessages"]
    for selection, fragments in [
        ("known: memories { content }", ""),
        ("...P", "fragment P on AddMessagesPayload { session { ... on Session { user { name } } } }"),
        ("messages { ... on Node { ... on Message { memories { totalCount } } } }", ""),
        ("session { context @include(if: false) { text } }", ""),
        ("messageEdges { node { session { id } } }", ""),
    ]:
        before = users.server.tables()
        for _ in range(2):
            answer = blind.execute(f"{document('addMessages', selection)} {fragments}", input=given)
            assert codes(answer) == ["FORBIDDEN"], selection
        assert users.server.tables() == before


@pytest.mark.once
def test_only_the_operation_that_runs_has_to_be_permitted(users: Users, blind: Api) -> None:
    text = """query Read { session(sessionId: "ada-1") { ...S } }
        mutation End { endSession(input: {sessionId: "ada-1"}) { session { sessionId } } }
        fragment S on Session { messages { totalCount } }"""
    for _ in range(2):
        ended = blind.post({"query": text, "operationName": "End"}).json()
        assert ended == {"data": {"endSession": {"session": {"sessionId": "ada-1"}}}}
        read = blind.post({"query": text, "operationName": "Read"}).json()
        assert codes(read) == ["FORBIDDEN", "FORBIDDEN"]
    assert "errors" not in users.client("READ").post({"query": text, "operationName": "Read"}).json()


@pytest.mark.once
def test_a_long_document_is_checked_as_well(users: Users, blind: Api) -> None:
    many = " ".join(f"m{n}: messages {{ id }}" for n in range(200))
    given = inputs(users.ada, "new")["addMessages"]
    before = users.server.tables()
    answer = blind.execute(document("addMessages", f"{many} memories {{ id }}"), input=given)
    assert codes(answer) == ["FORBIDDEN"]
    assert users.server.tables() == before
    assert blind.graphql(document("addMessages", f"{many} {ERRORS}"), input=given)["addMessages"]["userErrors"] == []


def test_a_document_of_which_a_part_is_not_permitted_writes_nothing(users: Users) -> None:
    for second in (
        'b: deleteSession(input: {sessionId: "one"}) { deletedSessionId }',
        '... on Mutation { b: deleteUser(input: {userId: "ada"}) { deletedUserId } }',
    ):
        api = users.client("READ", "WRITE")
        before = users.server.tables()
        answer = api.execute(
            f'mutation {{ a: createSession(input: {{sessionId: "one"}}) {{ session {{ id }} }} {second} }}'
        )
        assert (codes(answer), answer["data"]) == (["FORBIDDEN"], None)
        assert users.server.tables() == before


def test_a_permission_is_asked_for_where_the_rule_of_documents_does_not_apply(desk: Desk) -> None:
    desk.user()
    scope = Scope(user=user_key("default", "ada"))
    for granted, mutation in ((frozenset(("READ", "MANAGE")), create_session), (EVERYTHING, delete_user)):
        context = OperationContext(desk.database, desk.clock, scope, granted)
        with pytest.raises(Forbidden):
            desk.run(carry_out(mutation, context, {"user_id": "ada"}))


def test_the_table_of_the_documentation_names_the_mutations_of_each_permission() -> None:
    table = {
        name.strip("`"): set(names_in(allows)) for name, allows in rows_of(PAGES["security"], "Permission", "Allows")
    }
    for permission in EVERY:
        assert table[permission] & set(TAKES) == {name for name in TAKES if TAKES[name] == permission}


@pytest.mark.once
@pytest.mark.parametrize("field", ["instructions", "documents { totalCount }", "memories { totalCount }"])
def test_a_payload_with_a_field_that_is_for_no_user_is_refused_before_anything_is_written(
    users: Users, field: str
) -> None:
    said = '{sessionId: "new", messages: [{role: USER, content: "x"}]}'
    api = users.client("READ", "WRITE")
    before = users.server.tables()
    answer = api.execute(f"mutation {{ addMessages(input: {said}) {{ session {{ agent {{ {field} }} }} }} }}")
    assert (codes(answer), answer["data"]) == (["FORBIDDEN"], None)
    assert users.server.tables() == before


def test_a_user_removes_nothing_for_good_by_beginning_a_session_anew(users: Users) -> None:
    api = users.client("READ", "WRITE", "MANAGE")
    create = document("createSession")
    api.accepted(create, sessionId="chat")
    api.accepted(document("deleteSession"), sessionId="chat")
    (fault,) = unchanged(users, api, "createSession", {"sessionId": "chat"})["data"]["createSession"]["userErrors"]
    assert (fault["code"], fault["path"]) == ("ALREADY_EXISTS", ["sessionId"])
    users.server.accepted(create, sessionId="chat")
