"""Deletions by filter: a mutation removes a part of one owner's list, and is repeated until there is no more."""

from collections.abc import Callable
from typing import Any, NamedTuple

from models.keyset import Slice
from resolvers.errors import BadInput, Fault, refuse
from resolvers.filters import Filter, Given
from resolvers.inputs import Values, check, integer_rule, key_rule

LARGEST_DELETION = 1000


class Deletion(NamedTuple):
    """The field that names the owner, and the part of its list to delete, the oldest objects first."""

    owner: str
    part: Slice


def deletion_of(
    values: Values, owners: tuple[str, ...], several: str, filtered: Callable[[Given], Filter], everything: Given = None
) -> Deletion:
    """Checks the input of a deletion; the refusal `several` is for more or less than one owner.

    `everything` is the filter for an input without one.
    """
    rules: dict[str, Any] = {**dict.fromkeys(owners, key_rule), "limit": integer_rule(1, LARGEST_DELETION)}
    named = [name for name in owners if values.get(name) is not None]
    check(values, rules, more=[Fault("INVALID", several)] if len(named) != 1 else [])
    given = values.get("filter")
    try:
        filter = filtered(everything if given is None else given)
    except BadInput as problem:
        raise refuse("INVALID", str(problem), "filter") from problem
    limit = values.get("limit") or LARGEST_DELETION
    part = Slice("created_at", given=filter.given, values=filter.values, columns=("key",), limit=limit)
    return Deletion(named[0], part)
