"""Headers in which a client lists what it accepts, each item with a weight: `Accept` and `Accept-Encoding`."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_item = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_parameter = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*"?)+')
_weight = re.compile(r"[01]?(?:\.[0-9]{0,9})?")


class Preference(NamedTuple):
    """One item of a list, its names in lower case."""

    name: str
    parameters: dict[str, str]
    weight: float
    """From 0, which means not at all, to 1."""


def preferences(header: str) -> Iterator[Preference]:
    """The items of a header, without empty ones and without those whose weight is not a number from 0 to 1."""
    for item in _item.findall(header):
        name, parameters = read_parameters(item)
        weight = parameters.pop("q", "1")
        if name and weight.strip(".") and _weight.fullmatch(weight) and float(weight) <= 1:
            yield Preference(name, parameters, float(weight))


def read_parameters(text: str) -> tuple[str, dict[str, str]]:
    """The name that a text like `application/json; charset=utf-8` starts with, and its parameters, in lower case."""
    name, _, rest = text.lower().partition(";")
    pairs = [part.partition("=") for part in _parameter.findall(rest)]
    return name.strip(), {key.strip(): value.strip().strip('"') for key, _, value in pairs}
