"""Mutations: one input, one payload with the object and `userErrors`."""

import inspect
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Annotated, Any

import strawberry

from breadth import PageSize, batch_field
from resolvers.errors import Refused
from resolvers.permissions import Mutation, carry_out
from schema.connections import parameter
from schema.permissions import OPERATION


@strawberry.enum(description="A kind of fault in a mutation's input.")
class UserErrorCode(Enum):
    ALREADY_EXISTS = strawberry.enum_value("ALREADY_EXISTS", description="An object with this key exists.")
    NOT_FOUND = strawberry.enum_value("NOT_FOUND", description="No such object exists, for this credential.")
    INVALID = strawberry.enum_value("INVALID", description="The value cannot be accepted.")
    CONFLICT = strawberry.enum_value(
        "CONFLICT", description="Duplicates or contradicts an existing object, or the version has changed."
    )
    SESSION_ENDED = strawberry.enum_value("SESSION_ENDED", description="The session has ended; reopen it first.")
    TOO_LARGE = strawberry.enum_value("TOO_LARGE", description="The value is over its limit.")
    FORBIDDEN = strawberry.enum_value("FORBIDDEN", description="The credential may not do this.")


@strawberry.type(description="A fault in a mutation's input. Nothing was changed.")
class UserError:
    code: UserErrorCode = strawberry.field(description="The kind of fault.")
    message: str = strawberry.field(description="The fault, the value that has it, and the remedy.")
    path: list[str] = strawberry.field(
        description="The path in `input`, list positions as decimal numbers; empty for the input as a whole."
    )


ERRORS = "The faults of the input; empty when the mutation was carried out."


def errors_field() -> Any:
    return strawberry.field(description=ERRORS)


class Payload(dict[str, Any]):
    """A payload by snake_case name; what is not in it is null."""

    def __missing__(self, name: str) -> None:
        return None


def mutation(
    operation: Mutation,
    input_type: type,
    payload: Callable[[Any], dict[str, Any]],
    *,
    description: str,
    lists: Sequence[str] = (),
    page_size: PageSize | None = None,
) -> Any:
    """A mutation: `operation(context, values)`, whose result `payload` names. `lists` are empty when it is refused."""

    async def resolve(context: Any, parents: Sequence[Any], input: dict[str, Any]) -> list[Payload]:
        try:
            result = await carry_out(operation, context, input)
        except Refused as refusal:
            faults = [{"code": f.code, "message": f.message, "path": list(f.path)} for f in refusal.faults]
            return [Payload({name: [] for name in lists}, user_errors=faults)]
        return [Payload(payload(result), user_errors=[])]

    setattr(resolve, OPERATION, operation)
    described = Annotated[input_type, strawberry.argument(description="The input of the mutation.")]
    argument = parameter("input", described, inspect.Parameter.empty)
    return batch_field(resolve, description=description, parameters=[argument], page_size=page_size)
