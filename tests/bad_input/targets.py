"""A server with a little data, and a client that looks closely at every answer."""

import json
import re
from typing import Any

import httpx

from tests.documents import ERRORS
from tests.servers import Server

CODES = {
    "BAD_USER_INPUT",
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "OPERATION_RESOLUTION_FAILURE",
    "QUERY_TOO_COMPLEX",
    "PAYLOAD_TOO_LARGE",
}
USER_CODES = {"ALREADY_EXISTS", "NOT_FOUND", "INVALID", "CONFLICT", "SESSION_ENDED", "TOO_LARGE"}
INSIDE = re.compile(  # in lower case
    r'traceback|file "|sqlite|sqlalchemy|site-packages|\.py\b|/tmp/|/usr/|/home/|object at 0x|nonetype|'
    r"orjson|strawberry|pydantic|unique constraint|select .* from|insert (?:or|into)|update \w+ set|delete from|"
    r"codec can't|\b(?:type|value|key|index|attribute|name|recursion|memory|overflow|assertion|runtime|"
    r"unicode\w*|operational|integrity|programming|interface|data|json|jsondecode)error\b"
)
MEBIBYTE = 1024 * 1024
OPERATIONS = {
    "user": "query ($x: String!) { user(userId: $x) { userId } }",
    "session": "query ($x: String!) { session(sessionId: $x) { sessionId } }",
    "agent": "query ($x: String!) { agent(agentId: $x) { agentId } }",
    "node": "query ($x: ID!) { node(id: $x) { id } }",
    "nodes": "query ($x: [ID!]!) { nodes(ids: $x) { id } }",
    "users": "query ($x: UserFilter) { users(filter: $x) { totalCount nodes { userId } } }",
    "sessions": "query ($x: SessionFilter) { sessions(filter: $x) { totalCount nodes { sessionId } } }",
    "order": "query ($x: SessionOrder) { sessions(orderBy: $x) { nodes { sessionId } } }",
    "first": "query ($x: Int) { users(first: $x) { nodes { userId } } }",
    "after": "query ($x: String) { users(after: $x) { nodes { userId } } }",
    "messages": 'query ($x: MessageFilter) { session(sessionId: "here") { messages(filter: $x) { totalCount } } }',
    "memories": 'query ($x: MemoryFilter) { user(userId: "here") { memories(filter: $x) { totalCount } } }',
    "documents": 'query ($x: DocumentFilter) { user(userId: "here") { documents(filter: $x) { totalCount } } }',
    "search": "query ($x: String!) { search(query: $x) { edges { score highlight } } }",
    "search's filter": 'query ($x: SearchFilter) { search(query: "here", filter: $x) { edges { score highlight } } }',
    "search's scope": 'query ($x: [SearchScope!]) { search(query: "here", scope: $x) { edges { score highlight } } }',
    "search's cursor": 'query ($x: String) { search(query: "here", after: $x) { pageInfo { endCursor } } }',
    "include": "query ($x: Boolean!) { viewer { id @include(if: $x) role } }",
}
MUTATIONS = {
    name: f"mutation ($x: {name[0].upper()}{name[1:]}Input!) {{ {name}(input: $x) {{ {ERRORS} }} }}"
    for name in (
        "createUser",
        "updateUser",
        "upsertUser",
        "deleteUser",
        "createSession",
        "updateSession",
        "upsertSession",
        "endSession",
        "reopenSession",
        "deleteSession",
        "cloneSession",
        "deleteInactiveSessions",
        "addMessages",
        "updateMessage",
        "deleteMessage",
        "deleteMessages",
        "createMemory",
        "updateMemory",
        "deleteMemory",
        "deleteMemories",
        "createDocument",
        "updateDocument",
        "deleteDocument",
        "createAgent",
        "updateAgent",
        "upsertAgent",
        "deleteAgent",
        "purgeDeleted",
    )
}


class Target:
    """A server with a little data, and a client that looks closely at every answer."""

    def __init__(self, server: Server) -> None:
        self.server = server
        said = [{"role": "USER", "content": "hello"}]
        self.mutate("createUser", userId="here", documents=[{"title": "t", "content": "c"}])
        self.mutate("createAgent", agentId="here", name="Here")
        self.mutate("createSession", sessionId="here", userId="here", agentId="here")
        self.mutate("addMessages", sessionId="here", messages=said, formMemories=False)
        self.mutate("createMemory", sessionId="here", kind="FACT", content="c")
        query = """{
          user(userId: "here") { id documents { nodes { id } } memories { nodes { id } } }
          session(sessionId: "here") { messages { nodes { id } } }
        }"""
        found = server.graphql(query)
        self.user = found["user"]["id"]
        self.document = found["user"]["documents"]["nodes"][0]["id"]
        self.memory = found["user"]["memories"]["nodes"][0]["id"]
        self.message = found["session"]["messages"]["nodes"][0]["id"]

    def mutate(self, name: str, /, **fields: Any) -> None:
        assert self.server.graphql(MUTATIONS[name], x=fields)[name]["userErrors"] == []

    def send(self, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        """Asserts that an answer is never a fault of the server, and every error has a documented code."""
        response = self.server.post(body, headers)
        assert response.status_code in (200, 294, 400, 413, 415, 422), response.text[:2000]
        assert response.headers["content-type"].startswith(("application/json", "application/graphql-response+json"))
        answer = response.json()
        assert isinstance(answer, dict)
        assert answer.keys() <= {"data", "errors", "extensions"}
        assert "data" in answer or answer["errors"]
        sent = (body if isinstance(body, bytes) else json.dumps(body).encode()).decode(errors="replace").lower()
        for error in answer.get("errors", []):
            assert isinstance(error["message"], str)
            assert error["message"]
            assert error["extensions"]["code"] in CODES, error
            assert all(found in sent for found in INSIDE.findall(error["message"].lower())), error
            assert "stacktrace" not in error["extensions"]
        for payload in (answer.get("data") or {}).values():
            for error in payload.get("userErrors", []) if isinstance(payload, dict) else []:
                assert error["code"] in USER_CODES, error
                assert error["message"]
                assert all(found in sent for found in INSIDE.findall(error["message"].lower())), error
                assert all(isinstance(step, str) for step in error["path"])
        return response

    def ask(self, query: Any, variables: Any = None) -> dict[str, Any]:
        return self.send({"query": query, "variables": variables}).json()

    def codes(self, query: Any, variables: Any = None) -> set[str]:
        """The codes of the errors that an operation is answered with: it must have some."""
        answer = self.ask(query, variables)
        assert answer.get("errors"), answer
        return {error["extensions"]["code"] for error in answer["errors"]}

    def user_errors(self, name: str, /, **fields: Any) -> list[tuple[str, list[str]]]:
        """The codes and paths of the userErrors of a mutation that must be refused."""
        answer = self.ask(MUTATIONS[name], {"x": fields})
        assert "errors" not in answer, answer
        errors = answer["data"][name]["userErrors"]
        assert errors, f"{name} accepted it"
        return [(error["code"], error["path"]) for error in errors]
