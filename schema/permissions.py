"""The GraphQL type of permissions, and the rule that checks an operation before anything of it runs."""

from enum import Enum
from functools import cache
from typing import Any

import strawberry
from graphql import FieldNode, GraphQLError, GraphQLField, ValidationRule, get_named_type, is_leaf_type
from graphql.language.visitor import SKIP

from breadth import batch_of
from breadth.core import output_type
from resolvers.errors import Forbidden, for_service
from resolvers.grants import READ, Granted
from resolvers.permissions import Mutation, check_permission


@strawberry.enum(description="The permissions of a user token, each on what is the user's own.")
class UserPermission(Enum):
    READ = strawberry.enum_value(
        "READ",
        description="Queries, and everything that a mutation's payload can select. Without it queries are FORBIDDEN, "
        "and payloads give only the written object's own scalars.",
    )
    WRITE = strawberry.enum_value(
        "WRITE", description="addMessages with messages of role USER, createSession and createMemory."
    )
    MANAGE = strawberry.enum_value(
        "MANAGE",
        description="updateSession (title, situation, metadata, formMemories), endSession, reopenSession, "
        "deleteSession (softly), cloneSession, updateMessage and deleteMessage of USER messages, updateMemory, "
        "upsertMemory, deleteMemory and deleteMemories.",
    )


WRITTEN = frozenset(("session", "message", "messages", "messageEdges", "memory", "userErrors"))
"""The fields of payloads that hold what a mutation has written. Other objects, such as the memories that the server
formed of a message, hold older data too."""

SERVICE_FIELDS = frozenset((("Agent", "instructions"), ("Agent", "documents"), ("Agent", "memories")))
"""Fields that no user may read: in a payload they are refused before the mutation runs."""

OPERATION = "operation"
"""The attribute of a mutation's resolver that names the operation that it runs."""


@cache
def permission_rule(granted: Granted) -> type[ValidationRule]:
    """The rule of validation for a user token: the operation takes no permission that was not granted.

    Otherwise a mutation might be refused when another one of the document has been carried out, or a payload's field
    when the mutation has.
    """

    class Permitted(ValidationRule):
        def enter_field(self, node: FieldNode, *_: Any) -> Any:
            parent, field = self.context.get_parent_type(), self.context.get_field_def()
            if parent is None or field is None or node.name.value.startswith("__") or parent.name.startswith("__"):
                return None
            if parent is self.context.schema.mutation_type:
                problem = _of_mutation(field, granted)
            elif parent is self.context.schema.query_type and READ in granted:
                # A field that is not for users is refused where it stands.
                return SKIP
            elif (parent.name, node.name.value) in SERVICE_FIELDS:
                problem = for_service(f"read `{parent.name}.{node.name.value}`")
            elif READ in granted or _is_written(parent.name, node.name.value, field):
                return None
            else:
                where = f"`{parent.name}.{node.name.value}`"
                problem = Forbidden(f"Selecting {where} takes the permission READ, which this token lacks.")
            if problem is None:
                return None
            # Clients know by the path which of their mutations is meant.
            path = [node.alias.value if node.alias else node.name.value] if parent.name == "Mutation" else None
            self.report_error(GraphQLError(str(problem), node, path=path, extensions={"code": problem.code}))
            return SKIP

    return Permitted


def _of_mutation(field: GraphQLField, granted: Granted) -> Forbidden | None:
    batch = batch_of(field)
    operation: Mutation | None = getattr(batch.resolve, OPERATION, None) if batch else None
    try:
        check_permission(operation, granted)
    except Forbidden as problem:
        return problem
    return None


def _is_written(parent: str, name: str, field: GraphQLField) -> bool:
    """True for a scalar of what a mutation has written, and for the fields that lead there."""
    if is_leaf_type(get_named_type(output_type(field))):
        return True
    leads_there = name in WRITTEN if parent.endswith("Payload") else (parent, name) == ("MessageEdge", "node")
    return leads_there and batch_of(field) is None
