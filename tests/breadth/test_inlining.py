"""Short functions become part of generated code, and give there what they give when they are called."""

import sys
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import pytest

from breadth.inlining import body_of

LIMIT = 3


def plain(name: str, number: int) -> str:
    """With a docstring."""
    return f"{name.upper():>8}-{number:x}"


def of_this_module(number: int) -> int:
    return min(number, LIMIT) + len(str(number))


def with_underscores(a__slot_1__b: str, c__: int) -> str:
    return f"{a__slot_1__b} {c__}"


def choice(name: str | None, number: int) -> str:
    return name if name is not None else f"{number}"


def within(step: int) -> Callable[[int], int]:
    def stepped(number: int) -> int:
        return number + step

    return stepped


@pytest.mark.parametrize(
    ("function", "arguments", "is_text"),
    [
        (plain, ("ada", 255), True),
        (of_this_module, (12,), False),
        (with_underscores, ("ada", 1), True),
        (choice, (None, 7), False),
        (choice, ("ada", 7), False),
        (within(5), (1,), False),
        (within(6), (1,), False),
    ],
)
def test_an_inlined_function_gives_what_it_gives_when_called(
    function: Callable[..., Any], arguments: tuple[Any, ...], is_text: bool
) -> None:
    body = body_of(function)
    assert body is not None
    assert body.is_text is is_text
    given = dict(zip("abc", arguments, strict=False))
    sources = {name: f'given["{key}"]' for name, key in zip(body.parameters, given, strict=True)}
    values = {f"other_{name}": value for name, value in body.values.items()}
    source = body.of(sources | {name: f"other_{name}" for name in body.values})
    assert eval(source, {"given": given, **values}) == function(*arguments)


def with_a_default(number: int = 1) -> int:
    return number


def with_any(*numbers: int) -> int:
    return sum(numbers)


def with_a_statement(number: int) -> int:
    number += 1
    return number


def with_a_loop(numbers: list[int]) -> list[int]:
    return [number + 1 for number in numbers]


def with_a_function(number: int) -> Callable[[], int]:
    return lambda: number


def with_both_quotes(name: str) -> str:
    return f"'{name}'"


def without_a_value(number: int) -> None:
    assert number
    return


@lru_cache
def decorated(number: int) -> int:
    return number


@pytest.mark.parametrize(
    "function",
    [
        with_a_default,
        with_any,
        with_a_statement,
        with_a_loop,
        with_a_function,
        without_a_value,
        decorated,
        decorated.__wrapped__,
        partial(plain, "ada"),
        str.upper,
        len,
        lambda number: number,
        eval("lambda number: number"),
    ],
)
def test_any_other_function_is_called(function: Callable[..., Any]) -> None:
    assert body_of(function) is None


def test_a_text_with_both_quotes_is_inlined_only_where_python_lets_them_nest() -> None:
    assert (body_of(with_both_quotes) is not None) is (sys.version_info >= (3, 12))
