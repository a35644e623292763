"""Node: the interface of every object with a global id."""

from functools import partial
from typing import Any

import strawberry

from breadth import computed_field
from models.statements import noun_of
from resolvers.ids import WITH_NONCE, global_id
from schema.inputs import required


@strawberry.interface(description="An object with a global id.")
class Node:
    id: strawberry.ID = required("The object's global id: opaque and permanent.")

    @classmethod
    def resolve_type(cls, row: object, *_: object) -> str:
        return noun_of(row)

    @classmethod
    def is_type_of(cls, row: object, *_: object) -> bool:
        return noun_of(row) == cls.__name__


def id_field(noun: str) -> Any:
    """For a noun whose rows may have a nonce, which its id then holds."""
    needs = ("key", "nonce") if noun in WITH_NONCE else ("key",)
    return computed_field(partial(global_id, noun), description="The object's global id.", needs=needs, unescaped=True)
