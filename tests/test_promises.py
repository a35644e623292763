"""The promises to users of Zep and Julep, with a test for each."""

from typing import Any

import pytest

from tests.documents import CREATE_AGENT, CREATE_SESSION, CREATE_USER, DELETE_USER, mutation
from tests.servers import Server

ADD = mutation("addMessages", "messages { messageId } memories { content }")
ODD = [
    "42",
    "a/b?c=d&e#f",
    "Zoë 🦊",
    " ",
    '"quoted"',
    "'; DROP TABLE users; --",
    "x" * 512,
    "ID",
    "id",
    "../..",
    "%00",
    "نعم",
]


@pytest.mark.parametrize("id", ODD)
def test_ids_are_the_applications_own_whatever_they_are(server: Server, id: str) -> None:
    server.accepted(CREATE_USER, userId=id)
    server.accepted(CREATE_AGENT, agentId=id, name="Agent")
    server.accepted(CREATE_SESSION, sessionId=id, userId=id, agentId=id)
    server.accepted(ADD, sessionId=id, messages=[{"messageId": id, "role": "USER", "content": "Hello"}])
    server.accepted(
        mutation("createMemory", "memory { memoryId }"), memoryId=id, userId=id, kind="FACT", content="Likes tea"
    )
    server.accepted(
        mutation("createDocument", "document { documentId }"), documentId=id, userId=id, title="Tea", content="Green"
    )
    found = server.graphql(
        """query ($id: String!) { session(sessionId: $id) {
          sessionId agent { agentId } messages(filter: {messageIds: [$id]}) { nodes { messageId } }
          user { userId memories(filter: {memoryIds: [$id]}) { nodes { memoryId } }
                 documents(filter: {documentIds: [$id]}) { nodes { documentId } } } } }""",
        id=id,
    )
    assert found["session"] == {
        "sessionId": id,
        "agent": {"agentId": id},
        "messages": {"nodes": [{"messageId": id}]},
        "user": {
            "userId": id,
            "memories": {"nodes": [{"memoryId": id}]},
            "documents": {"nodes": [{"documentId": id}]},
        },
    }


def test_a_user_is_deleted_with_everything_in_one_call(server: Server) -> None:
    for user in ("ada", "bob"):
        server.accepted(CREATE_USER, userId=user, documents=[{"title": "Tea", "content": "Green"}])
        for number in range(3):
            said = [{"role": "USER", "content": f"I live in Turin {number}."}]
            server.accepted(ADD, sessionId=f"{user}-{number}", userId=user, messages=said)
    deletion = mutation("deleteUser", "receipt { sessions messages memories documents }")
    receipt = server.accepted(deletion, userId="ada")["receipt"]
    assert (receipt["sessions"], receipt["messages"], receipt["documents"]) == (3, 3, 1)
    query = """{ users { nodes { userId } } sessions(filter: {userIds: ["ada"]}) { totalCount }
      search(query: "Turin", userId: "ada") { nodes { __typename } } all: sessions { totalCount } }"""
    assert server.graphql(query) == {
        "users": {"nodes": [{"userId": "bob"}]},
        "sessions": {"totalCount": 0},
        "search": {"nodes": []},
        "all": {"totalCount": 3},
    }
    server.accepted(DELETE_USER, userId="ada")


def pages(server: Server, field: str, key: str) -> list[Any]:
    """All items of a list, a page of seven at a time."""
    selection = f"totalCount nodes {{ {key} }} pageInfo {{ endCursor hasNextPage }}"
    query = f"query ($after: String) {{ page: {field} {{ {selection} }} }}"
    found: list[Any] = []
    after = None
    while True:
        page = server.graphql(query, after=after)["page"]
        assert len(page["nodes"]) <= 7
        found += [node[key] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            assert len(found) == page["totalCount"]
            return found
        after = page["pageInfo"]["endCursor"]


def test_every_list_is_read_in_pages_without_a_gap_or_a_repetition(server: Server) -> None:
    numbers = [f"{number:02}" for number in range(20)]
    for number in numbers:
        server.accepted(CREATE_USER, userId=number, name=f"N{number}", email=f"{number}@x.org")
        server.accepted(CREATE_AGENT, agentId=number, name=f"N{number}")
        server.accepted(CREATE_SESSION, sessionId=number, userId=number)
    for field, key, orders in (
        ("users", "userId", ("CREATED_AT", "UPDATED_AT", "USER_ID", "NAME", "EMAIL")),
        ("agents", "agentId", ("CREATED_AT", "UPDATED_AT", "AGENT_ID", "NAME")),
        ("sessions", "sessionId", ("CREATED_AT", "UPDATED_AT", "LAST_ACTIVITY_AT", "SESSION_ID", "USER_ID")),
    ):
        for order in orders:
            for direction, expected in (("ASC", numbers), ("DESC", numbers[::-1])):
                ordered = f"orderBy: {{field: {order}, direction: {direction}}}"
                assert pages(server, f"{field}(first: 7, after: $after, {ordered})", key) == expected, order


def test_metadata_is_whatever_it_is_and_filters_every_list(server: Server) -> None:
    metadata = {"plan": "pro", "tags": ["a", {"b": None}], "nested": {"deep": {"id": 7}}}
    server.accepted(CREATE_USER, userId="ada", metadata=metadata)
    server.accepted(CREATE_AGENT, agentId="tutor", name="Tutor", metadata=metadata)
    server.accepted(CREATE_SESSION, sessionId="s", userId="ada", metadata=metadata)
    server.accepted(ADD, sessionId="s", messages=[{"role": "USER", "content": "Turin", "metadata": metadata}])
    for document, fields in (
        (mutation("createMemory", "memory { id }"), {"kind": "FACT", "content": "Turin"}),
        (mutation("createDocument", "document { id }"), {"title": "T", "content": "Turin"}),
    ):
        server.accepted(document, userId="ada", metadata=metadata, **fields)
    query = """query ($m: JSON!) {
      users(filter: {metadata: $m}) { totalCount } agents(filter: {metadata: $m}) { totalCount }
      sessions(filter: {metadata: $m}) { totalCount nodes { messages(filter: {metadata: $m}) { totalCount } } }
      user(userId: "ada") {
        memories(filter: {metadata: $m}) { totalCount } documents(filter: {metadata: $m}) { totalCount } }
      search(query: "Turin", filter: {metadata: $m}) { nodes { __typename } } }"""
    for part, count in (
        ({"plan": "pro"}, 1),
        ({"nested": {"deep": {"id": 7}}}, 1),
        ({"tags": ["a"]}, 1),
        ({"plan": "x"}, 0),
    ):
        found = server.graphql(query, m=part)
        counts = [found[name]["totalCount"] for name in ("users", "agents", "sessions")]
        counts += [found["user"][name]["totalCount"] for name in ("memories", "documents")]
        assert counts == [count] * 5, part
        assert [node["messages"]["totalCount"] for node in found["sessions"]["nodes"]] == [1] * count
        assert len(found["search"]["nodes"]) == 3 * count


def test_memories_are_formed_only_of_what_opts_in(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada", formMemories=False)

    def formed(session: str, **given: Any) -> list[str]:
        said = [{"role": "USER", "content": f"I live in {session}."}]
        payload = server.accepted(ADD, sessionId=session, userId="ada", messages=said, **given)
        return [memory["content"] for memory in payload["memories"]]

    assert formed("Turin") == []
    assert formed("Oslo", formMemories=True) == ["I live in Oslo"]
    server.accepted(CREATE_SESSION, sessionId="Bergen", userId="ada", formMemories=True)
    assert formed("Bergen") == ["I live in Bergen"]
    server.graphql('mutation { upsertUser(input: {userId: "ada", formMemories: null}) { created } }')
    assert formed("Lyon") == ["I live in Lyon"]


def test_an_agent_uses_what_is_known_about_the_user(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada", name="Ada", about="Allergic to penicillin.")
    server.accepted(CREATE_AGENT, agentId="nurse", name="Nurse", about="Advises on medicines.")
    server.accepted(ADD, sessionId="before", userId="ada", messages=[{"role": "USER", "content": "I live in Turin."}])
    learned = {"agentId": "nurse", "kind": "FACT", "content": "The pharmacy closes at six."}
    server.accepted(mutation("createMemory", "memory { id }"), **learned)
    server.accepted(CREATE_SESSION, sessionId="now", userId="ada", agentId="nurse")
    turn = mutation("addMessages", "session { context { chat } }")
    said = [{"role": "USER", "content": "What may I take for a cough?"}]
    system, question = server.accepted(turn, sessionId="now", messages=said)["session"]["context"]["chat"]
    for known in ("Allergic to penicillin.", "Advises on medicines.", "I live in Turin", "The pharmacy closes at six."):
        assert known in system["content"]
    assert question == {"role": "user", "content": "What may I take for a cough?"}


@pytest.mark.parametrize("text", ["zoe", "LUND", "lu zo", "zoé", "zoe.lund@ex", "example", "cust-7", "7"])
def test_people_are_found_by_name_or_address_or_id(server: Server, text: str) -> None:
    server.accepted(CREATE_USER, userId="cust-7", firstName="Zoe", lastName="Lund", email="zoe.lund@example.org")
    server.accepted(CREATE_USER, userId="cust-8", name="Bob", email="bob@else.org")
    query = "query ($text: String!) { users(filter: {text: $text}) { nodes { userId } } }"
    assert server.graphql(query, text=text) == {"users": {"nodes": [{"userId": "cust-7"}]}}
