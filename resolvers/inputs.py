"""Validates the inputs of mutations: rules by field, and the faults they find."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from models.rows import AnyRow
from resolvers.errors import Fault, Refused
from resolvers.json_values import Unacceptable, checked_text, unstorable

KEY_CHARACTERS = 512
TEXT_BYTES = 64 * 1024
CONTENT_BYTES = 1024 * 1024
DOCUMENTS_AT_ONCE = 100
_INT = 2**31 - 1

Values = Mapping[str, Any]
"""A mutation's input by snake_case name: only the given fields, to distinguish an omitted one from null."""

Found = tuple[str, str] | None
"""A code and a message, or None for a valid value."""

Rule = Callable[[Any], Found]


def camel(name: str) -> str:
    """Converts a field's name to camelCase, as clients write it."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def key_rule(value: str) -> Found:
    if not 1 <= len(value) <= KEY_CHARACTERS:
        return "INVALID", f"A key has 1 to {KEY_CHARACTERS} characters; this one has {len(value)}."
    problem = unstorable(value)
    return ("INVALID", f"The key {problem}.") if problem else None


def text_rule(limit: int) -> Rule:
    def check(value: str) -> Found:
        if problem := unstorable(value):
            return "INVALID", f"The text {problem}."
        if len(value) * 4 > limit and (size := len(value.encode())) > limit:
            return "TOO_LARGE", f"The text takes {size} bytes; at most {limit} are kept."
        return None

    return check


def required_text(limit: int) -> Rule:
    check = text_rule(limit)
    return lambda value: check(value) if value.strip() else ("INVALID", "The text is empty; give some.")


def metadata_rule(value: Any) -> Found:
    if not isinstance(value, dict):
        return "INVALID", 'Metadata is a JSON object, as in {"plan": "pro"}.'
    return json_rule(value)


def json_rule(value: Any) -> Found:
    try:
        checked_text(value)
    except Unacceptable as problem:
        return problem.code, str(problem)
    return None


def integer_rule(least: int, most: int = _INT) -> Rule:
    def check(value: int) -> Found:
        if least <= value <= most:
            return None
        return "INVALID", f"{value} is out of range; give a whole number from {least} to {most}."

    return check


def share_rule(value: float) -> Found:
    return None if 0 <= value <= 1 else ("INVALID", f"{value} is out of range; give a number from 0 to 1.")


text = text_rule(TEXT_BYTES)
content = text_rule(CONTENT_BYTES)


def faults_of(
    values: Values, rules: Mapping[str, Rule], *, required: Iterable[str] = (), path: tuple[str, ...] = ()
) -> list[Fault]:
    """The faults in the fields of one object; null is a fault only in the required ones."""
    faults: list[Fault] = []
    required = tuple(required)
    for name, value in values.items():
        if value is None:
            if name in required:
                faults.append(Fault("INVALID", f"`{camel(name)}` is required; it can't be null.", (*path, camel(name))))
        elif (rule := rules.get(name)) and (found := rule(value)):
            faults.append(Fault(*found, (*path, camel(name))))
    return faults


def check(
    values: Values, rules: Mapping[str, Rule], *, required: Iterable[str] = (), more: Iterable[Fault] = ()
) -> None:
    """Refuses an input with all of its faults."""
    refuse_all([*faults_of(values, rules, required=required), *more])


def refuse_all(faults: Iterable[Fault]) -> None:
    """Refuses an input for these faults, if there are any."""
    if faults := list(faults):
        raise Refused(*faults)


def check_version(row: AnyRow, values: Values) -> None:
    expected = values.get("expected_version")
    if expected is not None and expected != row["version"]:
        raise Refused(
            Fault(
                "CONFLICT",
                f"The version is {row['version']}, not {expected}: somebody else has changed it; read it again.",
                ("expectedVersion",),
            )
        )


def forbidden_field(name: str, *path: str) -> Fault:
    """The fault of a field that only the application itself may give."""
    return Fault("FORBIDDEN", f"A user token may not give `{camel(name)}`; leave it out.", (*path, camel(name)))


def created(values: Values) -> dict[str, Any]:
    """In a creation null is the same as an omitted field."""
    return {name: value for name, value in values.items() if value is not None}
