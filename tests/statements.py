"""The statements and lists that the modules of the models keep."""

import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, TypeVar

import models
from models.statements import ByKey

T = TypeVar("T")


def found_in(value: Any, kind: type[T], seen: set[int]) -> Iterator[T]:
    """The objects of a class in a value: in collections, and in the attributes of objects of the models."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, list | tuple | Mapping):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from found_in(item, kind, seen)
    elif isinstance(value, ByKey):
        yield from found_in([value.one, value.many], kind, seen)
    elif type(value).__module__.startswith("models.") and id(value) not in seen:
        seen.add(id(value))
        yield from found_in(list(getattr(value, "__dict__", {}).values()), kind, seen)


def named(kind: type[T], *, without: str = "postgres") -> dict[str, list[T]]:
    """The objects of a class that the modules of the models keep under a name, without those of a database."""
    names = [module.name for module in pkgutil.walk_packages(models.__path__, "models.")]
    modules = [import_module(name) for name in names if "migrations" not in name and without not in name]
    kept = {
        f"{module.__name__}.{name}": list(found_in(value, kind, set()))
        for module in modules
        for name, value in vars(module).items()
    }
    return {name: values for name, values in kept.items() if values}
