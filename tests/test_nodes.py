"""Objects by their global ids."""

from tests.documents import ADD_MESSAGES, NODES
from tests.servers import Serve, Server
from tests.users import NODE, USER, create, get


def test_global_ids_lead_back_to_their_objects(server: Server) -> None:
    user = create(server, userId="ada")
    added = server.accepted(ADD_MESSAGES, sessionId="s", userId="ada", messages=[{"role": "USER", "content": "hello"}])
    expected = {
        user["id"]: "User",
        added["session"]["id"]: "Session",
        added["messages"][0]["id"]: "Message",
    }
    assert len(expected) == 3
    for id_, typename in expected.items():
        assert server.graphql(NODE, id=id_)["node"] == {"__typename": typename, "id": id_}
    ids = [*expected, *reversed(expected), "none of ours"]
    nodes = server.graphql(NODES, ids=ids)["nodes"]
    assert nodes[-1] is None
    assert [(node["id"], node["__typename"]) for node in nodes[:-1]] == [(id_, expected[id_]) for id_ in ids[:-1]]


def test_a_node_answers_as_its_own_type(server: Server) -> None:
    user = create(server, userId="ada", metadata={"a": 1}, about="x")
    node = server.graphql(f"query ($id: ID!) {{ node(id: $id) {{ ... on User {{ {USER} }} }} }}", id=user["id"])["node"]
    assert node == user


def test_the_same_key_of_a_user_and_a_session_gives_two_ids(server: Server) -> None:
    user = create(server, userId="same")
    session = server.accepted(ADD_MESSAGES, sessionId="same", messages=[{"role": "USER", "content": "hello"}])[
        "session"
    ]
    assert user["id"] != session["id"]


def test_an_id_that_is_none_of_ours_is_null(server: Server) -> None:
    user = create(server, userId="ada")
    alien = [
        "",
        "1",
        "0",
        "ada",
        "VXNlcjox",
        "VXNlcjphZGE=",
        "====",
        "-1",
        "é😀",
        "%00",
        "../../etc/passwd",
        "x" * 10_000,
    ]
    for id_ in alien:
        assert server.graphql(NODE, id=id_)["node"] is None, id_
    assert server.graphql(NODES, ids=[user["id"], *alien])["nodes"] == [
        {"__typename": "User", "id": user["id"]},
        *[None] * len(alien),
    ]
    assert server.graphql("{ node(id: 1) { id } }")["node"] is None


def test_at_most_100_nodes_are_given_at_once(server: Server) -> None:
    id_ = create(server, userId="ada")["id"]
    assert server.graphql(NODES, ids=[])["nodes"] == []
    assert len([node for node in server.graphql(NODES, ids=[id_] * 100)["nodes"] if node]) == 100
    (error,) = server.errors(NODES, ids=[id_] * 101)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


def test_global_ids_are_the_same_after_a_restart(serve: Serve) -> None:
    first = serve()
    user = create(first, userId="ada", about="stays")
    added = first.accepted(ADD_MESSAGES, sessionId="s", userId="ada", messages=[{"role": "USER", "content": "hello"}])
    ids = [user["id"], added["session"]["id"], added["messages"][0]["id"]]
    before = first.graphql(NODES, ids=ids)["nodes"]
    assert all(before)
    first.process.terminate()
    first.wait()
    second = serve(place=first.place)
    assert second.graphql(NODES, ids=ids)["nodes"] == before
    assert get(second, "ada") == user
