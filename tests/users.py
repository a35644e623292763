"""Users as the tests write and read them."""

from datetime import datetime
from typing import Any

from tests.documents import mutation
from tests.servers import Api, Server

USER = "id userId email firstName lastName name about metadata createdAt updatedAt version"
CREATE = mutation("createUser", f"user {{ {USER} }}")
UPDATE = mutation("updateUser", f"user {{ {USER} }}")
UPSERT = mutation("upsertUser", f"user {{ {USER} }} created")
DELETE = mutation("deleteUser", "deletedUserId receipt { userId }")
GET = f"query ($userId: String!) {{ user(userId: $userId) {{ {USER} }} }}"
LIST = """query ($filter: UserFilter, $orderBy: UserOrder) {
  users(first: 100, filter: $filter, orderBy: $orderBy) { nodes { userId } totalCount }
}"""
NODE = "query ($id: ID!) { node(id: $id) { __typename id } }"


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def create(server: Api, **fields: Any) -> dict[str, Any]:
    return server.accepted(CREATE, **fields)["user"]


def update(server: Api, **fields: Any) -> dict[str, Any]:
    return server.accepted(UPDATE, **fields)["user"]


def find(server: Api, user_id: str) -> dict[str, Any] | None:
    return server.graphql(GET, userId=user_id)["user"]


def get(server: Api, user_id: str) -> dict[str, Any]:
    """A user that must be there."""
    user = find(server, user_id)
    assert user is not None, f"there is no user {user_id!r}"
    return user


def listed(server: Server, order: str | None = None, **filters: Any) -> list[str]:
    """The userIds of a list, in its order, whose totalCount must agree; `order` is "FIELD DIRECTION"."""
    order_by = dict(zip(("field", "direction"), order.split(), strict=True)) if order else None
    users = server.graphql(LIST, filter=filters or None, orderBy=order_by)["users"]
    assert users["totalCount"] == len(users["nodes"])
    return [user["userId"] for user in users["nodes"]]


def nested(levels: int) -> dict[str, Any]:
    """Objects in one another, the outermost being level 1."""
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value
