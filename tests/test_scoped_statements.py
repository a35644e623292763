"""A function that reads or changes what belongs to a user takes a scope, or rows that were read through one."""

import inspect
from types import ModuleType

import pytest

from models import (
    agents,
    clones,
    documents,
    formation,
    keyset,
    memories,
    merging,
    messages,
    moving,
    sessions,
    sources,
    users,
)

MODULES = (users, agents, documents, sessions, clones, messages, memories, sources, formation, keyset, moving, merging)


def functions_of(module: ModuleType) -> list[str]:
    own = inspect.getmembers(module, inspect.iscoroutinefunction)
    return [name for name, function in own if function.__module__ == module.__name__ and not name.startswith("_")]


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in MODULES for name in functions_of(module)], ids=str
)
def test_no_function_goes_by_a_bare_key_alone(module: ModuleType, name: str) -> None:
    parameters = inspect.signature(getattr(module, name)).parameters.values()
    types = [str(inspect.formatannotation(parameter.annotation)) for parameter in parameters]
    assert any(word in type for type in types for word in ("Scope", "Row", "Sources")), types
