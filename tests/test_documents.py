"""Documents: texts that belong to a user or to an agent."""

from datetime import datetime
from typing import Any

import pytest

import resolvers.deletions
from tests.documents import (
    CREATE_AGENT,
    CREATE_MEMORY,
    CREATE_USER,
    DELETE_AGENT,
    DELETE_DOCUMENT,
    UPDATE_USER,
    mutation,
)
from tests.servers import Api, Server

DOCUMENT = """id documentId title content metadata user { userId } agent { agentId } createdAt updatedAt version"""
CREATE = mutation("createDocument", f"document {{ {DOCUMENT} }}")
UPDATE = mutation("updateDocument", f"document {{ {DOCUMENT} }}")
DELETE_MANY = mutation("deleteDocuments", "deletedDocumentIds hasMore")
DELETE_USER = mutation("deleteUser", "deletedUserId receipt { documents }")
NODE = f"query ($id: ID!) {{ node(id: $id) {{ ... on Document {{ {DOCUMENT} }} }} }}"
OF_USER = f"""query ($userId: String!, $filter: DocumentFilter) {{
  user(userId: $userId) {{ documents(first: 100, filter: $filter) {{ nodes {{ {DOCUMENT} }} totalCount }} }}
}}"""
OF_AGENT = f"""query ($agentId: String!, $filter: DocumentFilter) {{
  agent(agentId: $agentId) {{ documents(first: 100, filter: $filter) {{ nodes {{ {DOCUMENT} }} totalCount }} }}
}}"""
OWNERS = [{"userId": "ada"}, {"agentId": "guide"}]


def add_owners(server: Api) -> None:
    server.accepted(CREATE_USER, userId="ada", email="Ada@Example.org")
    server.accepted(CREATE_AGENT, agentId="guide", name="Guide")


def write(server: Api, title: str = "Notes", content: str = "Some text", **fields: Any) -> dict[str, Any]:
    return server.accepted(CREATE, title=title, content=content, **fields)["document"]


def document(server: Api, document_id: str) -> dict[str, Any] | None:
    return server.graphql(NODE, id=document_id)["node"]


def documents(server: Api, owner: dict[str, str], **filters: Any) -> list[dict[str, Any]]:
    query = OF_USER if "userId" in owner else OF_AGENT
    (found,) = server.graphql(query, filter=filters or None, **owner).values()
    assert found["documents"]["totalCount"] == len(found["documents"]["nodes"])
    return found["documents"]["nodes"]


def titles(server: Api, owner: dict[str, str], **filters: Any) -> list[str]:
    return sorted(node["title"] for node in documents(server, owner, **filters))


def test_a_document_belongs_to_a_user(server: Server) -> None:
    add_owners(server)
    made = write(server, "Notes", "Some text", userId="ada", metadata={"a": None, "b": [1, {}]})
    assert (made["user"], made["agent"]) == ({"userId": "ada"}, None)
    assert (made["title"], made["content"], made["documentId"]) == ("Notes", "Some text", None)
    assert made["metadata"] == {"a": None, "b": [1, {}]}
    assert made["version"] == 1
    assert made["createdAt"] == made["updatedAt"]
    assert documents(server, {"userId": "ada"}) == [made]
    assert document(server, made["id"]) == made
    assert documents(server, {"agentId": "guide"}) == []


def test_a_document_belongs_to_an_agent(server: Server) -> None:
    add_owners(server)
    made = write(server, agentId="guide")
    assert (made["user"], made["agent"], made["metadata"]) == (None, {"agentId": "guide"}, {})
    assert documents(server, {"agentId": "guide"}) == [made]
    assert document(server, made["id"]) == made
    assert documents(server, {"userId": "ada"}) == []


def test_a_document_has_one_owner_exactly(server: Server) -> None:
    add_owners(server)
    text = {"title": "t", "content": "c"}
    user, email, agent = {"userId": "ada"}, {"userEmail": "ada@example.org"}, {"agentId": "guide"}
    for owners in ({}, {"userId": None}, user | agent, user | email, email | agent, user | email | agent):
        assert server.refused(CREATE, **text, **owners)["code"] == "INVALID", owners
    assert write(server, userId="ada", agentId=None, userEmail=None)["user"] == {"userId": "ada"}


@pytest.mark.parametrize("owner", ["userId", "agentId", "userEmail"])
def test_a_document_of_somebody_unknown_is_not_found(server: Server, owner: str) -> None:
    add_owners(server)
    error = server.refused(CREATE, title="t", content="c", **{owner: "nobody"})
    assert (error["code"], error["path"]) == ("NOT_FOUND", [owner])


def test_an_email_finds_the_one_user_who_bears_it(server: Server) -> None:
    add_owners(server)
    for email in ("Ada@Example.org", "ada@example.org", "ADA@EXAMPLE.ORG"):
        assert write(server, userEmail=email)["user"] == {"userId": "ada"}
    for email in ("ada@example.or", "ada@example.org ", "da@example.org", "%@example.org", "ada_example.org", ""):
        assert server.refused(CREATE, title="t", content="c", userEmail=email)["code"] in (
            {"NOT_FOUND"} if email else {"NOT_FOUND", "INVALID"}
        )


def test_an_email_is_matched_casefolded_beyond_ascii(server: Server) -> None:
    server.accepted(CREATE_USER, userId="jörg", email="Jörg.Groß@Straße.example")
    assert write(server, userEmail="JÖRG.GROSS@STRASSE.EXAMPLE")["user"] == {"userId": "jörg"}


def test_an_email_that_several_users_bear_is_a_conflict(server: Server) -> None:
    add_owners(server)
    server.accepted(CREATE_USER, userId="bob", email="ADA@example.org")
    error = server.refused(CREATE, title="t", content="c", userEmail="ada@example.org")
    assert (error["code"], error["path"]) == ("CONFLICT", ["userEmail"])
    server.accepted(UPDATE_USER, userId="ada", email=None)
    assert write(server, userEmail="ada@example.org")["user"] == {"userId": "bob"}


def test_a_document_stays_with_its_user_when_the_email_moves(server: Server) -> None:
    add_owners(server)
    made = write(server, userEmail="ada@example.org")
    server.accepted(UPDATE_USER, userId="ada", email="new@example.org")
    server.accepted(CREATE_USER, userId="bob", email="ada@example.org")
    assert documents(server, {"userId": "ada"}) == [made]
    assert documents(server, {"userId": "bob"}) == []


def test_a_document_keeps_the_time_it_is_given(server: Server) -> None:
    add_owners(server)
    made = write(server, userId="ada", createdAt="2020-02-29T12:00:00.000001+02:00")
    assert datetime.fromisoformat(made["createdAt"]) == datetime.fromisoformat("2020-02-29T10:00:00.000001Z")
    assert made["createdAt"].endswith("Z")


def test_the_newest_document_comes_first(server: Server) -> None:
    add_owners(server)
    for year in (2021, 2023, 2020, 2022):
        write(server, f"{year}", userId="ada", createdAt=f"{year}-01-01T00:00:00Z")
    assert [node["title"] for node in documents(server, {"userId": "ada"})] == ["2023", "2022", "2021", "2020"]


@pytest.mark.parametrize("owner", OWNERS)
def test_a_repeated_document_is_returned_as_stored(server: Server, owner: dict[str, str]) -> None:
    add_owners(server)
    given: dict[str, Any] = {**owner, "documentId": "d", "metadata": {"a": 1}}
    made = write(server, **given)
    assert made["documentId"] == "d"
    assert write(server, **given) == made
    assert documents(server, owner) == [made]


@pytest.mark.parametrize("owner", OWNERS)
def test_a_repeated_document_with_other_content_is_a_conflict(server: Server, owner: dict[str, str]) -> None:
    add_owners(server)
    made = write(server, documentId="d", **owner)
    for title, content in (("Notes", "Other text"), ("Other title", "Some text")):
        error = server.refused(CREATE, documentId="d", title=title, content=content, **owner)
        assert error["code"] == "CONFLICT"
    assert documents(server, owner) == [made]


def test_a_retry_by_email_finds_the_same_document(server: Server) -> None:
    add_owners(server)
    made = write(server, documentId="d", userId="ada")
    assert write(server, documentId="d", userEmail="ada@example.org") == made


def test_a_retry_after_an_edit_makes_no_second_document(server: Server) -> None:
    add_owners(server)
    made = write(server, documentId="d", userId="ada")
    server.accepted(UPDATE, id=made["id"], content="Edited")
    again = write(server, documentId="d", userId="ada")
    assert (again["id"], again["content"]) == (made["id"], "Edited")
    assert titles(server, {"userId": "ada"}) == ["Notes"]


def test_a_document_id_is_unique_within_its_owner_only(server: Server) -> None:
    add_owners(server)
    server.accepted(CREATE_USER, userId="guide")
    owners = [*OWNERS, {"userId": "guide"}]
    made = [write(server, f"{owner}", documentId="d", **owner) for owner in owners]
    assert len({one["id"] for one in made}) == 3
    for owner, one in zip(owners, made, strict=True):
        assert documents(server, owner) == [one]


def test_documents_without_a_key_are_all_kept(server: Server) -> None:
    add_owners(server)
    assert write(server, userId="ada")["id"] != write(server, userId="ada")["id"]
    assert titles(server, {"userId": "ada"}) == ["Notes", "Notes"]


@pytest.mark.parametrize("key", ["", "x" * 513, "a\0b"])
def test_a_document_id_that_cannot_be_is_refused(server: Server, key: str) -> None:
    add_owners(server)
    error = server.refused(CREATE, userId="ada", title="t", content="c", documentId=key)
    assert error["code"] in ({"TOO_LARGE", "INVALID"} if len(key) > 512 else {"INVALID"})
    assert error["path"] == ["documentId"]


def test_limits_of_a_document_are_checked(server: Server) -> None:
    add_owners(server)
    full = "a" * (1024 * 1024)
    made = write(server, content=full, userId="ada")
    assert made["content"] == full
    metadata: dict[str, Any] = {}
    for _ in range(32):
        metadata = {"a": metadata}
    for field, value, code in (
        ("content", full + "a", "TOO_LARGE"),
        ("metadata", metadata, "TOO_LARGE"),
        ("metadata", {"a": "x" * 66_000}, "TOO_LARGE"),
        ("metadata", [{}], "INVALID"),
        ("title", "a\0b", "INVALID"),
        ("content", "a\0b", "INVALID"),
    ):
        fields = {"title": "t", "content": "c"} | {field: value}
        error = server.refused(CREATE, userId="ada", **fields)
        assert (error["code"], error["path"]) == (code, [field])
        assert server.refused(UPDATE, id=made["id"], **{field: value})["code"] == code


# Documents that come with their owner


@pytest.mark.parametrize("owner", OWNERS)
def test_documents_are_given_with_their_owner(server: Server, owner: dict[str, str]) -> None:
    given = [{"title": f"{i}", "content": f"text {i}", "metadata": {"i": i} if i else None} for i in range(3)]
    if "userId" in owner:
        server.accepted(CREATE_USER, documents=given, **owner)
    else:
        server.accepted(CREATE_AGENT, name="Guide", documents=given, **owner)
    found = sorted(documents(server, owner), key=lambda node: node["title"])
    assert [node["content"] for node in found] == ["text 0", "text 1", "text 2"]
    assert [node["metadata"] for node in found] == [{}, {"i": 1}, {"i": 2}]
    assert {node["documentId"] for node in found} == {None}
    assert all(document(server, node["id"]) == node for node in found)


@pytest.mark.parametrize("owner", OWNERS)
def test_one_wrong_document_and_nothing_is_created(server: Server, owner: dict[str, str]) -> None:
    name = {} if "userId" in owner else {"name": "Guide"}
    create = CREATE_USER if "userId" in owner else CREATE_AGENT
    good = {"title": "t", "content": "c"}
    for wrong, code, field in (
        ({"metadata": [1]}, "INVALID", "metadata"),
        ({"content": "a\0b"}, "INVALID", "content"),
        ({"content": "a" * (1024 * 1024 + 1)}, "TOO_LARGE", "content"),
        ({"metadata": {"a": "x" * 66_000}}, "TOO_LARGE", "metadata"),
    ):
        error = server.refused(create, **owner, **name, documents=[good, good | wrong])
        assert (error["code"], error["path"]) == (code, ["documents", "1", field])
    server.accepted(create, **owner, **name, documents=[good])
    assert titles(server, owner) == ["t"]


def test_documents_of_an_owner_who_is_there_already_are_not_added(server: Server) -> None:
    add_owners(server)
    new = [{"title": "t", "content": "c"}]
    assert server.refused(CREATE_USER, userId="ada", documents=new)["code"] == "ALREADY_EXISTS"
    assert server.refused(CREATE_AGENT, agentId="guide", name="Guide", documents=new)["code"] == "ALREADY_EXISTS"


@pytest.mark.parametrize("owner", OWNERS)
def test_documents_come_with_their_owner_under_their_own_ids(server: Server, owner: dict[str, str]) -> None:
    name = {} if "userId" in owner else {"name": "Guide"}
    create = CREATE_USER if "userId" in owner else CREATE_AGENT
    one, two = ({"documentId": id, "title": id, "content": "c"} for id in ("d1", "d2"))
    error = server.refused(create, **owner, **name, documents=[one, two, one | {"content": "other"}])
    assert (error["code"], error["path"]) == ("CONFLICT", ["documents", "2", "documentId"])
    for id in ("", "x" * 513, "a\0b"):
        error = server.refused(create, **owner, **name, documents=[one, two | {"documentId": id}])
        assert (error["code"], error["path"]) == ("INVALID", ["documents", "1", "documentId"])
    # The same document twice is one, as is a retry.
    server.accepted(create, **owner, **name, documents=[one, two, one])
    assert sorted(node["documentId"] for node in documents(server, owner)) == ["d1", "d2"]
    kept = {node["documentId"]: node for node in documents(server, owner)}
    assert write(server, "d1", "c", documentId="d1", **owner) == kept["d1"]
    assert server.refused(CREATE, documentId="d1", title="d1", content="other", **owner)["code"] == "CONFLICT"
    assert [node["documentId"] for node in documents(server, owner, documentIds=["d2", "d3"])] == ["d2"]


# Updates


def test_an_update_keeps_what_is_left_out(server: Server) -> None:
    add_owners(server)
    made = write(server, documentId="d", userId="ada", metadata={"a": 1})
    changed = server.accepted(UPDATE, id=made["id"], title="New")["document"]
    assert changed == made | {"title": "New", "version": 2, "updatedAt": changed["updatedAt"]}
    assert changed["updatedAt"] > made["updatedAt"]
    assert document(server, made["id"]) == changed
    changed = server.accepted(UPDATE, id=made["id"], content="Other")["document"]
    assert (changed["title"], changed["content"], changed["version"]) == ("New", "Other", 3)


@pytest.mark.parametrize("field", ["title", "content"])
def test_a_required_text_cannot_be_cleared(server: Server, field: str) -> None:
    add_owners(server)
    made = write(server, userId="ada")
    error = server.refused(UPDATE, id=made["id"], **{field: None})
    assert (error["code"], error["path"]) == ("INVALID", [field])


def test_metadata_is_merged_or_replaced_or_cleared(server: Server) -> None:
    add_owners(server)
    made = write(server, userId="ada", metadata={"foo": "bar", "old": 1})
    change = {"id": made["id"], "metadata": {"qax": "baz", "old": None}}
    assert server.accepted(UPDATE, **change)["document"]["metadata"] == {"foo": "bar", "qax": "baz"}
    assert server.accepted(UPDATE, **change, metadataMode="MERGE")["document"]["version"] == 2
    assert server.accepted(UPDATE, **change, metadataMode="REPLACE")["document"]["metadata"] == change["metadata"]
    assert server.accepted(UPDATE, id=made["id"], metadata=None)["document"]["metadata"] == {}


def test_an_update_that_changes_nothing_is_no_new_version(server: Server) -> None:
    add_owners(server)
    made = write(server, userId="ada", metadata={"a": 1})
    for same in ({}, {"title": made["title"]}, {"content": made["content"], "metadata": {}}, {"metadata": {"a": 1}}):
        assert server.accepted(UPDATE, id=made["id"], **same)["document"] == made


def test_an_update_of_another_version_is_a_conflict(server: Server) -> None:
    add_owners(server)
    made = write(server, userId="ada")
    assert server.accepted(UPDATE, id=made["id"], title="2", expectedVersion=1)["document"]["version"] == 2
    for version in (1, 3, 0, -1):
        error = server.refused(UPDATE, id=made["id"], title="3", expectedVersion=version)
        assert (error["code"], error["path"]) == ("CONFLICT", ["expectedVersion"])


# Deletion


def test_a_deleted_document_is_gone(server: Server) -> None:
    add_owners(server)
    made = write(server, "unmistakable title", "unmistakable text", userId="ada", documentId="unmistakable key")
    kept = write(server, "kept", userId="ada")
    assert server.accepted(DELETE_DOCUMENT, id=made["id"])["deletedDocumentId"] == made["id"]
    assert document(server, made["id"]) is None
    assert documents(server, {"userId": "ada"}) == [kept]
    assert "unmistakable" not in str(server.tables())
    assert server.refused(DELETE_DOCUMENT, id=made["id"])["code"] == "NOT_FOUND"
    assert server.refused(UPDATE, id=made["id"], title="x")["code"] == "NOT_FOUND"
    again = write(server, "another", userId="ada", documentId="unmistakable key")
    assert (again["title"], again["version"]) == ("another", 1)


@pytest.mark.parametrize("owner", OWNERS)
def test_documents_are_deleted_by_filter(server: Server, owner: dict[str, str]) -> None:
    add_owners(server)
    other = next(each for each in OWNERS if each != owner)
    write(server, "other", documentId="d1", **other)
    made = [write(server, f"{i}", documentId=f"d{i}", metadata={"even": i % 2 == 0}, **owner) for i in range(6)]
    done = server.accepted(DELETE_MANY, **owner, filter={"documentIds": ["d1", "d5", "unknown"]})
    assert done["deletedDocumentIds"] == [made[1]["id"], made[5]["id"]]
    assert done["hasMore"] is False
    done = server.accepted(DELETE_MANY, **owner, filter={"metadata": {"even": True}}, limit=2)
    assert (done["deletedDocumentIds"], done["hasMore"]) == ([made[0]["id"], made[2]["id"]], True)
    assert titles(server, owner) == ["3", "4"]
    done = server.accepted(DELETE_MANY, **owner)
    assert (done["deletedDocumentIds"], done["hasMore"]) == ([made[3]["id"], made[4]["id"]], False)
    assert server.accepted(DELETE_MANY, **owner)["deletedDocumentIds"] == []
    assert titles(server, other) == ["other"]


def test_long_documents_are_deleted_a_few_at_a_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    add_owners(server)
    monkeypatch.setattr(resolvers.deletions, "DELETED_CHARACTERS", 100)
    made = [write(server, f"{n}", "ä" * length, userId="ada")["id"] for n, length in enumerate((40, 60, 1, 101, 5, 5))]
    for first, end in ((0, 2), (2, 3), (3, 4), (4, 6)):
        done = server.accepted(DELETE_MANY, userId="ada")
        assert (done["deletedDocumentIds"], done["hasMore"]) == (made[first:end], end < 6)


def test_what_was_derived_of_deleted_documents_goes_with_them(server: Server) -> None:
    add_owners(server)
    made = [write(server, f"{i}", f"zeppelin {i}", userId="ada") for i in range(3)]
    memories = 'query { user(userId: "ada") { memories { nodes { content sources { totalCount } } } } }'
    for i, sources in enumerate(([made[0]["id"]], [made[0]["id"], made[2]["id"]])):
        server.accepted(CREATE_MEMORY, userId="ada", kind="FACT", content=f"m{i}", sources=sources)
    server.accepted(DELETE_MANY, userId="ada", limit=2)
    nodes = server.graphql(memories)["user"]["memories"]["nodes"]
    # Declared memories stay, without these sources.
    assert {node["content"]: node["sources"]["totalCount"] for node in nodes} == {"m0": 0, "m1": 1}
    search = 'query { search(query: "zeppelin") { nodes { ... on Document { title } } } }'
    assert server.graphql(search)["search"]["nodes"] == [{"title": "2"}]
    tables = server.tables()
    assert len(tables["documents"]) == 1
    assert len(tables["memory_sources"]) == 1
    for document in made[:2]:
        assert server.graphql(NODE, id=document["id"])["node"] is None


@pytest.mark.parametrize(
    ("given", "code", "path"),
    [
        ({}, "INVALID", []),
        ({"userId": "ada", "agentId": "guide"}, "INVALID", []),
        ({"userId": "nobody"}, "NOT_FOUND", ["userId"]),
        ({"agentId": "nobody"}, "NOT_FOUND", ["agentId"]),
        ({"userId": "ada", "limit": 0}, "INVALID", ["limit"]),
        ({"userId": "ada", "limit": 1001}, "INVALID", ["limit"]),
        ({"userId": "ada", "filter": {"metadata": [1]}}, "INVALID", ["filter"]),
        ({"userId": "ada", "filter": {"documentIds": ["x"] * 101}}, "INVALID", ["filter"]),
    ],
)
def test_a_deletion_that_cannot_be_is_refused(server: Server, given: Any, code: str, path: list[str]) -> None:
    add_owners(server)
    write(server, userId="ada")
    error = server.refused(DELETE_MANY, **given)
    assert (error["code"], error["path"]) == (code, path)


def test_what_is_no_document_can_be_neither_changed_nor_deleted(server: Server) -> None:
    user_id = server.accepted(CREATE_USER, userId="ada")["user"]["id"]
    for wrong in (user_id, "nonsense", "", "🦆", "x" * 5000):
        assert server.refused(DELETE_DOCUMENT, id=wrong)["code"] in {"NOT_FOUND", "INVALID"}
        assert server.refused(UPDATE, id=wrong, title="x")["code"] in {"NOT_FOUND", "INVALID"}


@pytest.mark.parametrize("owner", OWNERS)
def test_documents_go_with_their_owner(server: Server, owner: dict[str, str]) -> None:
    add_owners(server)
    gone = [write(server, f"{i}", **owner) for i in range(3)]
    (other,) = [one for one in OWNERS if one != owner]
    kept = write(server, "kept", **other)
    if "userId" in owner:
        assert server.accepted(DELETE_USER, **owner)["receipt"] == {"documents": 3}
        server.accepted(CREATE_USER, **owner)
    else:
        server.accepted(DELETE_AGENT, **owner)
        server.accepted(CREATE_AGENT, name="Guide", **owner)
    assert [document(server, one["id"]) for one in gone] == [None] * 3
    assert documents(server, owner) == []
    assert documents(server, other) == [kept]


@pytest.mark.parametrize("email", ["\ud800", "ada@example.org\ud800", "a\0b", "ada@example.org\0"])
def test_an_email_that_is_no_text_is_invalid(server: Server, email: str) -> None:
    add_owners(server)
    error = server.refused(CREATE, title="t", content="c", userEmail=email)
    assert (error["code"], error["path"]) == ("INVALID", ["userEmail"])
