"""Inlining: short functions become part of generated code, which then need not call them for each object."""

import ast
import builtins
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import FunctionType
from typing import Any, NamedTuple


class Body(NamedTuple):
    """The expression that a function returns, with a slot for each name that its value depends on."""

    pieces: Sequence[str]
    """Source text; every second piece is the name of a parameter, or of another value."""
    parameters: Sequence[str]
    values: Mapping[str, Any]
    """The other values, by their names."""
    is_text: bool
    """True if the result is a string whatever the arguments are."""

    def of(self, sources: Mapping[str, str]) -> str:
        """The expression with this source text for each name, which may have double quotes but no single ones."""
        return "".join(sources[piece] if index % 2 else piece for index, piece in enumerate(self.pieces))


_BINDS_NAMES = (ast.Lambda, ast.NamedExpr, ast.comprehension, ast.Await, ast.Yield, ast.YieldFrom)


@lru_cache(maxsize=256)
def body_of(function: Callable[..., Any]) -> Body | None:
    """The body of a function that does nothing but return an expression; None for any other.

    Its source has to be there, it may have no decorators and defaults, and the expression may bind no names. Where it
    is used, each argument is evaluated as often as its name occurs.
    """
    if not isinstance(function, FunctionType):
        return None
    parameters = inspect.signature(function).parameters.values()
    if any(each.kind is not each.POSITIONAL_OR_KEYWORD or each.default is not each.empty for each in parameters):
        return None
    expression = _returned(function)
    if expression is None or any(isinstance(part, _BINDS_NAMES) for part in ast.walk(expression)):
        return None
    own = [each.name for each in parameters]
    outer = inspect.getclosurevars(function)
    known = {**outer.globals, **outer.nonlocals}
    used = {part.id for part in ast.walk(expression) if isinstance(part, ast.Name)}.difference(own)
    values = {name: known[name] for name in used if name in known}
    if any(name not in values and not hasattr(builtins, name) for name in used):
        return None
    names = [*own, *values]
    for part in ast.walk(expression):
        if isinstance(part, ast.Name) and part.id in names:
            part.id = f"__slot_{names.index(part.id)}__"
    pieces = re.split(r"__slot_(\d+)__", f"({ast.unparse(expression)})")
    pieces[1::2] = [names[int(number)] for number in pieces[1::2]]
    body = Body(pieces, own, values, isinstance(expression, ast.JoinedStr))
    return body if _takes_keys(body) else None


def _takes_keys(body: Body) -> bool:
    """False if an argument can't have double quotes, because a text around it has them."""
    try:
        ast.parse(body.of(dict.fromkeys((*body.parameters, *body.values), 'value["key"]')))
    except SyntaxError:
        return False
    return True


def _returned(function: FunctionType) -> ast.expr | None:
    """The expression of a function that has no other statement besides its docstring."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):
        return None
    match tree.body:
        case [ast.FunctionDef(body=[*before, ast.Return(value=ast.expr() as expression)], decorator_list=[])]:
            is_bare = all(isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant) for each in before)
            return expression if is_bare else None
        case _:
            return None
