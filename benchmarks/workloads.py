"""The four workloads: W1 one user, W2 a user's sessions with messages, W3 a page of users with both, W4 an append."""

import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

from benchmarks.dataset import SESSIONS, USERS, session_id, user_id

CONNECTIONS = {"W1": 16, "W2": 8, "W3": 4, "W4": 16}
PAGE = 20
BODIES = 500
ALL_USERS = "Cursors"

_PAGE_INFO = "pageInfo { hasNextPage endCursor }"


def _tree(sessions: int, messages: int) -> str:
    said = f"edges {{ cursor node {{ id role content createdAt }} }} {_PAGE_INFO}"
    node = f"id sessionId situation messages(first: {messages}) {{ {said} }}"
    return f"sessions(first: {sessions}) {{ edges {{ cursor node {{ {node} }} }} {_PAGE_INFO} }}"


DOCUMENTS = {
    "W1": "query W1($id: String!) { user(userId: $id) { id userId email name about createdAt } }",
    "W2": f"query W2($id: String!) {{ user(userId: $id) {{ id userId name {_tree(10, 20)} }} }}",
    "W3": f"""query W3($after: String) {{
        users(first: {PAGE}, after: $after) {{
            edges {{ cursor node {{ id userId name {_tree(5, 10)} }} }} {_PAGE_INFO}
        }}
    }}""",
    "W4": """mutation W4($session: String!, $messages: [MessageInput!]!) {
        addMessages(input: { sessionId: $session, messages: $messages, formMemories: false }) {
            messages { id sequence role createdAt } userErrors { code message }
        }
    }""",
    ALL_USERS: """query Cursors($after: String) {
        users(first: 100, after: $after) { edges { cursor } pageInfo { endCursor } }
    }""",
}


def body(workload: str, variables: dict[str, Any]) -> dict[str, Any]:
    """A request. The floor server dispatches by `operationName` and ignores the document."""
    return {"query": DOCUMENTS[workload], "operationName": workload, "variables": variables}


def bodies(workload: str, cursors: list[str]) -> list[dict[str, Any]]:
    """The requests of a workload: the same for every server, except for its cursors, which mark the same positions."""
    chance = random.Random(workload)
    if workload == "W3":
        places = cursors[: USERS - PAGE - 1]
        return [body(workload, {"after": chance.choice(places)}) for _ in range(BODIES)]
    if workload == "W4":
        return [body(workload, _append(chance)) for _ in range(BODIES)]
    return [body(workload, {"id": user_id(chance.randint(1, USERS))}) for _ in range(BODIES)]


def _append(chance: random.Random) -> dict[str, Any]:
    session = session_id(chance.randint(1, USERS), chance.randint(1, SESSIONS))
    said = [("USER", "How far is Turin? "), ("ASSISTANT", "An hour by train. ")]
    return {"session": session, "messages": [{"role": role, "content": text * 11} for role, text in said]}


def all_cursors(ask: Callable[[dict[str, Any]], Any]) -> list[str]:
    """A server's cursors of all users, in the order of its list."""
    found: list[str] = []
    after = None
    while len(found) < USERS:
        users = ask(body(ALL_USERS, {"after": after}))["users"]
        found += [edge["cursor"] for edge in users["edges"]]
        after = users["pageInfo"]["endCursor"]
    return found


def content(answer: Any, *, times: bool = True) -> Any:
    """Normalizes an answer of any server for comparison: ids and cursors only have to exist, times are compared as
    times.

    Without `times` they only have to be valid times: an append has the current time.
    """
    if isinstance(answer, list):
        return [content(item, times=times) for item in answer]
    if not isinstance(answer, dict):
        return answer
    said = {name: content(value, times=times) for name, value in answer.items()}
    for name in said.keys() & {"id", "cursor", "endCursor"}:
        said[name] = isinstance(said[name], str) and said[name] != ""
    if "createdAt" in said:
        time = datetime.fromisoformat(said["createdAt"])
        said["createdAt"] = time if times else time.tzinfo is not None
    return said
