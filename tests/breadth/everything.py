"""A schema that has everything the language has, made of fields that go wrong in every way when asked to.

What a field gives depends on its parent's number and its arguments alone, so that two executions give the same.
"""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, ClassVar, NewType

import orjson
import strawberry
from graphql import GraphQLError
from strawberry import ID, UNSET, Info
from strawberry.schema.config import StrawberryConfig

from breadth import Events, PlainContext, Run, batch_field, computed_field, json_text, stream_field

TEXT = "A field."
ABSENT = inspect.Parameter.empty

Stamp = NewType("Stamp", str)
Blob = NewType("Blob", object)
Written = NewType("Written", str)


HERE = strawberry.lazy("tests.breadth.everything")


class Context(PlainContext):
    """The context of an operation, with the number that mutations change."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 1
        self.log: list[str] = []


class Trouble(Exception):
    """What fields raise."""


class Record(dict[str, Any]):
    """An object by its field names; the class says of which type."""

    noun = ""

    def __repr__(self) -> str:
        return f"{self.noun} {self['number']}"


def record_class(name: str) -> type[Record]:
    return type(name, (Record,), {"noun": name})


PersonRecord, CatRecord, DogRecord, RockRecord, GhostRecord, LabRecord = map(
    record_class, ["Person", "Cat", "Dog", "Rock", "Ghost", "Lab"]
)


class Payload(dict[str, Any]):
    """By name; what is not in it is null."""

    def __missing__(self, name: str) -> None:
        return None


class Place:
    """A parent whose fields are attributes."""

    def __init__(self, number: int, depth: int = 2) -> None:
        self.x = number
        self.y = None if number % 5 == 4 else number / 2
        self.inner = None if depth == 0 or number % 4 == 3 else Place(number + 1, depth - 1)
        self.row = [None if (number + step) % 6 == 5 else step for step in range(3)]

    def __repr__(self) -> str:
        return f"Place {self.x}"

    @property
    def broken(self) -> int:
        if self.x % 2:
            raise Trouble(f"the property of place {self.x}")
        return self.x


def record(kind: type[Record], number: int, *, with_pets: bool = True) -> Record:
    values: dict[str, Any] = {
        "number": number,
        "name": None if number % 5 == 0 else f"{kind.noun} {number}",
        "title": None if number % 11 == 10 else "T",
        "colour": ["RED", Colour.GREEN, "BLUE", None, "RED", "PURPLE"][number % 6],
        "trouble": [None, "none", Trouble(f"kept in {number}"), "x"][number % 4],
        "place": None if number % 7 == 6 else Place(number),
        "places": [[Place(number), None if number % 3 == 2 else Place(number + 1)], [] if number % 2 else None],
        "pets": [record(BEINGS[one % 3], one, with_pets=False) for one in (number + 1, number + 2)]
        if with_pets
        else None,
        "self": number,
        "size": [number, 2.5, None, "big"][number % 4] if kind is not RockRecord else f"size {number}",
    }
    if number % 6 != 5:
        values["sometimes"] = number
    return kind(values)


BEINGS = [PersonRecord, CatRecord, DogRecord]
THINGS = [CatRecord, RockRecord, DogRecord, PersonRecord]


def being(number: int) -> Record:
    return record(BEINGS[number % 3], number)


def thing(number: int) -> Record:
    return record(THINGS[number % 4], number)


def number_of(parent: Any) -> int:
    return 0 if parent is None else parent["number"] if isinstance(parent, dict) else parent.x


@strawberry.enum(description=TEXT)
class Colour(Enum):
    RED = strawberry.enum_value("RED", description=TEXT)
    GREEN = strawberry.enum_value("GREEN", description=TEXT)
    BLUE = strawberry.enum_value("BLUE", description=TEXT)


@strawberry.enum(description="How a field goes wrong.")
class Fault(Enum):
    NONE = "NONE"
    NULL = "NULL"
    ERROR = "ERROR"
    RAISE = "RAISE"
    SHORT = "SHORT"
    LONG = "LONG"
    SOME_NULL = "SOME_NULL"
    SOME_ERRORS = "SOME_ERRORS"
    SOME_BAD = "SOME_BAD"
    ITEM_NULL = "ITEM_NULL"
    ITEM_ERROR = "ITEM_ERROR"
    ITEM_BAD = "ITEM_BAD"
    INNER_NULL = "INNER_NULL"
    INNER_ERROR = "INNER_ERROR"
    NOT_A_LIST = "NOT_A_LIST"
    TUPLE = "TUPLE"
    GENERATOR = "GENERATOR"
    EMPTY = "EMPTY"
    ARGUMENTS = "ARGUMENTS"


@strawberry.input(description=TEXT)
class Leaf:
    number: int = strawberry.field(description=TEXT)
    colour: Colour | None = strawberry.field(default=Colour.BLUE, description=TEXT)


@strawberry.input(description=TEXT)
class Nest:
    text: str | None = strawberry.field(default=UNSET, description=TEXT)
    leaf: Leaf | None = strawberry.field(default=UNSET, description=TEXT)
    leaves: list[Leaf] | None = strawberry.field(default=None, description=TEXT)
    nest: Annotated["Nest", HERE] | None = strawberry.field(default=UNSET, description=TEXT)
    numbers: list[list[int | None]] | None = strawberry.field(default=UNSET, description=TEXT)
    stamp: Stamp | None = strawberry.field(default=UNSET, description=TEXT)
    given_name: str = strawberry.field(default="Ada", description=TEXT)


def parameter(name: str, annotation: Any, default: Any = UNSET) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


# --- Fields of every shape, which go wrong as they are told ---

SHAPES = ["T", "T!", "[T]", "[T!]", "[T]!", "[T!]!", "[[T]]", "[[T!]!]!", "[[T!]]", "[[T]!]"]

# For each kind of value: good ones and bad ones, by number.
GOOD: dict[str, Callable[[int], Any]] = {
    "int": lambda number: number,
    "colour": lambda number: ["RED", Colour.BLUE, "GREEN"][number % 3],
    "being": being,
    "thing": thing,
    "cat": lambda number: record(CatRecord, number),
    "place": Place,
}
BAD: dict[str, Callable[[int], Any]] = {
    "int": lambda number: [2**31, "seven", 1.5, [], {"a": 1}, float("nan")][number % 6],
    "colour": lambda number: ["PURPLE", 3, "red"][number % 3],
    "being": lambda number: record(RockRecord if number % 2 else GhostRecord, number),
    "thing": lambda number: record(GhostRecord, number) if number % 2 else "no thing",
    "cat": lambda number: record(DogRecord, number) if number % 2 else 5,
    "place": lambda number: Trouble(f"no place {number}"),
}


def nested(kind: str, depth: int, number: int, size: int, fault: Fault, first: bool = True) -> Any:
    """A value of a field, `depth` lists deep; what is wrong with it is in its first list."""
    if depth == 0:
        if first and fault is Fault.ITEM_NULL:
            return None
        if first and fault is Fault.ITEM_ERROR:
            return Trouble(f"item {number}")
        if first and fault is Fault.ITEM_BAD:
            return BAD[kind](number)
        return GOOD[kind](number)
    if depth == 1 and first and fault is Fault.INNER_NULL:
        return None
    if depth == 1 and first and fault is Fault.INNER_ERROR:
        return Trouble(f"inner {number}")
    return [nested(kind, depth - 1, number + step, size, fault, first and step == 0) for step in range(size)]


def result_of(kind: str, depth: int, number: int, size: int, fault: Fault) -> Any:
    odd = number % 2 == 1
    if fault is Fault.NULL or (fault is Fault.SOME_NULL and odd):
        return None
    if fault is Fault.ERROR or (fault is Fault.SOME_ERRORS and odd):
        return Trouble(f"result {number}")
    if fault is Fault.SOME_BAD and odd:
        return BAD[kind](number)
    if fault is Fault.NOT_A_LIST:
        return [5, "text", {"number": 3}, b"bytes"][number % 4]
    value = nested(kind, depth, number, 0 if fault is Fault.EMPTY else size, fault)
    if isinstance(value, list):
        if fault is Fault.TUPLE:
            return tuple(value)
        if fault is Fault.GENERATOR:
            return (item for item in value)
    return value


def shaped_resolver(kind: str, depth: int) -> Callable[..., Any]:
    async def resolve(_: Context, parents: Sequence[Any], fault: str, size: int, pause: int) -> list[Any]:
        for _step in range(pause % 4):
            await asyncio.sleep(0)
        how = Fault(fault)
        if how is Fault.RAISE:
            raise Trouble("all of them")
        results = [result_of(kind, depth, number_of(parent), size, how) for parent in parents]
        if how is Fault.SHORT:
            return results[1:]
        return [*results, None] if how is Fault.LONG else results

    return resolve


def shaped_arguments(*, fault: Any = None, size: Any = None, pause: Any = None) -> dict[str, Any]:
    if fault == "ARGUMENTS":
        raise Trouble("these arguments cannot be")
    return {"fault": fault or "NONE", "size": 2 if size is None else min(abs(size), 3), "pause": pause or 0}


SHAPED = [
    parameter("fault", Fault, Fault.NONE),
    parameter("size", int | None, 2),
    parameter("pause", int | None),
]


def shaped(kind: str, shape: str) -> Any:
    return batch_field(
        shaped_resolver(kind, shape.count("[")), description=TEXT, parameters=SHAPED, arguments=shaped_arguments
    )


def annotation(shape: str, item: Any) -> Any:
    """Python's annotation for a shape of GraphQL."""
    required = shape.endswith("!")
    shape = shape.removesuffix("!")
    kind = item if shape == "T" else list[annotation(shape[1:-1], item)]
    return kind if required else kind | None


def shape_name(shape: str) -> str:
    names = {"T": "One", "[": "List", "]": "", "!": "Set"}
    return "".join(names[letter] for letter in shape)


# --- Leaves, of which most values cannot be written ---

ODD: list[Any] = [
    0, -7, 2**31 - 1, 2**31, -(2**31) - 1, 2**53, 2**70, 1.0, 1.5, -0.0, 1e300, float("inf"), float("nan"),
    True, False, None, "", "7", "x", "é😀", "1.5", "RED", "BLUE", "PURPLE", Colour.RED, Fault.NONE, b"raw", [], [1], {},
    {"a": 1}, (1, 2), Trouble("a leaf"), GraphQLError("of GraphQL", extensions={"code": "OWN"}), "2025-01-31T12:00:00",
    datetime(2025, 1, 31, tzinfo=UTC), UNSET,
]  # fmt: skip

LEAVES: dict[str, Any] = {
    "int": int,
    "float": float,
    "string": str,
    "boolean": bool,
    "id": ID,
    "colour": Colour,
    "stamp": Stamp,
    "blob": Blob,
}


def odd(number: int, which: int = 0) -> Any:
    return ODD[(number * 7 + which) % len(ODD)]


async def odd_leaves(_: Context, parents: Sequence[Any], which: int = 0) -> list[Any]:
    return [odd(number_of(parent), which) for parent in parents]


async def odd_lists(_: Context, parents: Sequence[Any], which: int = 0) -> list[Any]:
    return [[odd(number_of(parent) + step, which) for step in range(2)] for parent in parents]


def computed_odd(parent: Any) -> Any:
    value = odd(number_of(parent))
    if isinstance(value, Exception) and number_of(parent) % 2:
        raise value
    return value


WHICH = [parameter("which", int, 0)]


# --- Arguments of every kind, which are told back ---


async def told(_: Context, parents: Sequence[Any], **given: Any) -> list[str]:
    return [f"{number_of(parent)} {sorted(given.items())!r}" for parent in parents]


ECHO = [
    parameter("text", str | None),
    parameter("number", int | None, 5),
    parameter("required", bool, ABSENT),
    parameter("defaulted", int, 3),
    parameter("numbers", list[int] | None),
    parameter("matrix", list[list[int]] | None),
    parameter("colour", Colour | None, Colour.GREEN),
    parameter("colours", list[Colour | None] | None),
    parameter("ratio", float | None, None),
    parameter("nest", Nest | None),
    parameter("nests", list[Nest] | None),
    parameter("leaf", Leaf | None),
    parameter("id", ID | None),
    parameter("stamp", Stamp | None, "2001-01-01"),
    parameter("blob", Blob | None),
    parameter("from_", Annotated[str | None, strawberry.argument(name="from")]),
]


def typed_by_noun(cls: Any) -> Any:
    cls.is_type_of = classmethod(lambda own, row, *_: getattr(type(row), "noun", None) == own.__name__)
    cls.resolve_type = classmethod(lambda _, row, *__: type(row).noun)
    return cls


LazyBeing = Annotated["Being", HERE]
LazyLab = Annotated["Lab", HERE]
LazyPerson = Annotated["Person", HERE]


@strawberry.type(description=TEXT)
class PlaceType:
    x: int = strawberry.field(description=TEXT)
    y: float = strawberry.field(description=TEXT)
    row: list[int] | None = strawberry.field(description=TEXT)
    inner: Annotated["PlaceType", HERE] | None = strawberry.field(description=TEXT)
    broken: int | None = strawberry.field(description=TEXT)
    echo: str = batch_field(told, description=TEXT, parameters=ECHO)
    being: LazyBeing = shaped("being", "T!")


async def friends_of(_: Context, parents: Sequence[Any], first: int) -> list[Any]:
    return [[being(number_of(parent) + step) for step in range(min(abs(first), 3))] for parent in parents]


async def lab_of(_: Context, parents: Sequence[Any]) -> list[Any]:
    return [record(LabRecord, number_of(parent) + 1) for parent in parents]


def being_id(row: Any) -> str:
    """A text that is inlined where it is selected."""
    return f"{type(row).noun}:{row['number']}"


def nickname(number: int) -> str:
    return f"nick {number}"


@strawberry.interface(description=TEXT)
@typed_by_noun
class Being:
    id: ID = computed_field(being_id, description=TEXT)
    number: int = strawberry.field(description=TEXT)
    name: str | None = strawberry.field(description=TEXT)
    title: str = strawberry.field(description=TEXT)
    colour: Colour | None = strawberry.field(description=TEXT)
    trouble: str | None = strawberry.field(description=TEXT)
    sometimes: int | None = strawberry.field(description=TEXT)
    place: PlaceType | None = strawberry.field(description=TEXT)
    places: list[list[PlaceType] | None] = strawberry.field(description=TEXT)
    friend: LazyBeing | None = shaped("being", "T")
    dear: LazyBeing = shaped("being", "T!")
    friends: list[LazyBeing] = batch_field(friends_of, description=TEXT, parameters=[parameter("first", int, 2)])
    pets: list[LazyBeing | None] | None = strawberry.field(description=TEXT)
    twin: LazyBeing | None = computed_field(lambda row: being(row["number"] + 3), description=TEXT)
    lab: LazyLab = batch_field(lab_of, description=TEXT)


@strawberry.interface(description=TEXT)
class Pet(Being):
    owner: LazyPerson | None = computed_field(lambda row: record(PersonRecord, row["number"] + 1), description=TEXT)
    nick: str = computed_field(nickname, description=TEXT, needs=("number",))


@strawberry.type(description=TEXT)
class Person(Being):
    echo: str | None = batch_field(told, description=TEXT, parameters=ECHO)
    size: float | None = strawberry.field(description=TEXT)


@strawberry.type(description=TEXT)
class Cat(Pet):
    size: float | None = strawberry.field(description=TEXT)
    echo: str | None = batch_field(told, description=TEXT, parameters=ECHO)
    prey: list[LazyBeing | None] = shaped("being", "[T]!")


@strawberry.type(description=TEXT)
class Dog(Pet):
    size: float | None = shaped("int", "T")
    prey: list[LazyBeing] | None = shaped("being", "[T!]")


@strawberry.type(description=TEXT)
@typed_by_noun
class Rock:
    number: int = strawberry.field(description=TEXT)
    size: str = strawberry.field(description=TEXT)
    echo: str | None = batch_field(told, description=TEXT, parameters=ECHO)
    being: LazyBeing | None = shaped("being", "T")


Thing = Annotated[Cat | Rock | Dog | Person, strawberry.union("Thing", description=TEXT)]


def lab_fields() -> Iterator[tuple[str, Any, Any]]:
    items = {"int": int, "colour": Colour, "being": Being, "thing": Thing, "cat": Cat, "place": PlaceType}
    for kind, item in items.items():
        for shape in SHAPES:
            yield f"{kind}{shape_name(shape)}", annotation(shape, item), shaped(kind, shape)
    for kind, item in LEAVES.items():
        name = kind.capitalize()
        yield f"odd{name}", item | None, batch_field(odd_leaves, description=TEXT, parameters=WHICH)
        yield f"odd{name}Set", item, batch_field(odd_leaves, description=TEXT, parameters=WHICH)
        yield f"odd{name}List", list[item | None], batch_field(odd_lists, description=TEXT, parameters=WHICH)
        yield f"odd{name}ListSet", list[item] | None, batch_field(odd_lists, description=TEXT, parameters=WHICH)
        yield f"computed{name}", item | None, computed_field(computed_odd, description=TEXT)
        yield f"computed{name}Set", item, computed_field(computed_odd, description=TEXT)


def lab_class() -> Any:
    fields = list(lab_fields())
    body: dict[str, Any] = {name: value for name, _, value in fields}
    body["number"] = strawberry.field(description=TEXT)
    body["lab"] = batch_field(lab_of, description=TEXT)
    body["self"] = strawberry.field(description=TEXT)
    body["__annotations__"] = {name: kind for name, kind, _ in fields} | {"number": int, "lab": LazyLab, "self": int}
    body["__module__"] = __name__
    return strawberry.type(description=TEXT)(type("Lab", (), body))


Lab = lab_class()


# --- Records, which have as many of their values as JSON as the executor admits ---

WRITTEN = ("Int", "String", "Stamp")


class CardRow(tuple[Any, ...]):
    """A record by position and by name. It has nothing but the columns that it was read with."""

    noun: ClassVar[str] = "Card"
    names: Sequence[Any] = ()

    def __getitem__(self, place: Any) -> Any:
        return super().__getitem__(place if isinstance(place, int) else self.names.index(place))


CARD_NAMES = ("number", "title", "suit", "colour", "stamp", "blob", "blob_set", "ratio")


def card(number: int, columns: Sequence[Any] | None) -> CardRow:
    values = {
        "number": number,
        "title": ["plain", 'with "quotes"', "zwölf\n\t\\", "\x00\x1f\x7f\u2028😀"][number % 4],
        "suit": None if number % 3 == 2 else "hearts",
        "colour": ["RED", None, "BLUE"][number % 3],
        "stamp": None if number % 4 == 1 else f"2025-01-{number % 28 + 1:02}",
        "blob": None if number % 3 == 1 else f'{{"n":{number},"t":"é"}}',
        "blob_set": "[1,2]" if number % 13 != 12 else None,
        "ratio": [number / 4, None, float("nan")][number % 7 // 3],
    }

    def written(run: Run) -> bytes:
        fields = {key: values[name] for key, name in run}
        stamps = {key for key, name in run if name == "stamp" and values[name] is not None}
        return orjson.dumps({key: f"{value}Z" if key in stamps else value for key, value in fields.items()})

    wanted = CARD_NAMES if columns is None else columns
    row = CardRow(values[column] if isinstance(column, str) else written(column) for column in wanted)
    row.names = wanted
    return row


async def deck_of(_: Context, parents: Sequence[Any], size: int, start: int, columns: Any = None) -> list[Any]:
    """Some decks are missing, or have something else in place of a card."""
    decks: list[Any] = []
    for parent in parents:
        first = (number_of(parent) + start) % 100
        cards: list[Any] = [card(first + step, columns) for step in range(min(abs(size), 4))]
        if first % 19 == 18:
            cards[:1] = [None]
        covers = [Payload(label=f"cover {place}", note='a "note"', card=one) for place, one in enumerate(cards)]
        decks.append(Trouble(f"deck {first}") if first % 23 == 22 else Payload(cards=cards, covers=covers, size=first))
    return decks


def troubled(number: int) -> int:
    if number % 17 == 16:
        raise Trouble(f"card {number}")
    return number


def token(number: int) -> str:
    return f"card-{number}"


@strawberry.type(description=TEXT)
@typed_by_noun
class Card:
    id: ID = computed_field(token, description=TEXT, needs=("number",), unescaped=True)
    number: int = strawberry.field(description=TEXT)
    title: str = strawberry.field(description=TEXT)
    suit: str | None = strawberry.field(description=TEXT)
    colour: Colour | None = strawberry.field(description=TEXT)
    stamp: Stamp | None = strawberry.field(description=TEXT)
    blob: Written | None = strawberry.field(description=TEXT)
    blob_set: Written = strawberry.field(description=TEXT)
    ratio: float | None = strawberry.field(description=TEXT)
    trouble: int | None = computed_field(troubled, description=TEXT, needs=("number",))
    quoted: str = computed_field(lambda title: f'"{title}"', description=TEXT, needs=("title",))
    lab: LazyLab = batch_field(lab_of, description=TEXT, needs=("number",))


@strawberry.type(description=TEXT)
class Cover:
    label: str = computed_field(lambda label: label, description=TEXT, needs=("label",), unescaped=True)
    note: str | None = strawberry.field(description=TEXT)
    card: Card = strawberry.field(description=TEXT)


@strawberry.type(description=TEXT)
class Deck:
    cards: list[Card] | None = strawberry.field(description=TEXT)
    covers: list[Cover] = strawberry.field(description=TEXT)
    size: int = strawberry.field(description=TEXT)


async def ordinary(number: int = 1) -> str:
    await asyncio.sleep(0)
    return f"ordinary {number}"


@strawberry.type(description=TEXT)
class Query:
    lab: LazyLab = batch_field(lab_of, description=TEXT)
    being: Being | None = shaped("being", "T")
    beings: list[Being | None] = shaped("being", "[T]!")
    things: list[Thing] | None = shaped("thing", "[T!]")
    thing: Thing = shaped("thing", "T!")
    rocks: list[list[Rock]] | None = computed_field(
        lambda _: [[record(RockRecord, step), record(RockRecord, step + 5)] for step in range(2)], description=TEXT
    )
    cat: Cat | None = computed_field(lambda _: record(CatRecord, 4), description=TEXT)
    place: PlaceType | None = computed_field(lambda _: Place(1), description=TEXT)
    echo: str = batch_field(told, description=TEXT, parameters=ECHO)
    deck: Deck | None = batch_field(
        deck_of,
        description=TEXT,
        parameters=[parameter("size", int, 2), parameter("start", int, 0)],
        records_at=(("cards",), ("covers", "card")),
    )
    ordinary: str = strawberry.field(resolver=ordinary, description=TEXT)


# --- Mutations: what they do depends on their order ---


def changed(context: Context, what: str, number: int) -> Payload:
    """Changes the number and keeps what was done."""
    context.number = number % 1_000_003
    context.log.append(what)
    return Payload(value=context.number, number=context.number, log=list(context.log))


async def added(context: Context, parents: Sequence[Any], amount: int) -> list[Any]:
    await asyncio.sleep(0)
    return [changed(context, f"add {amount}", context.number + amount) for _ in parents]


async def multiplied(context: Context, parents: Sequence[Any], by: int) -> list[Any]:
    return [changed(context, f"multiply {by}", context.number * by) for _ in parents]


async def taken(context: Context, parents: Sequence[Any], nest: Any) -> list[Any]:
    return [changed(context, f"take {nest!r}", context.number + 1) for _ in parents]


async def failed(context: Context, parents: Sequence[Any], fault: str = "RAISE") -> list[Any]:
    await asyncio.sleep(0)
    payload = changed(context, f"fail {fault}", context.number * 2)
    if fault == "RAISE":
        raise Trouble(f"failed at {context.number}")
    if fault == "SHORT":
        return []
    if fault == "ERROR":
        return [Trouble(f"gave an error at {context.number}")] * len(parents)
    if fault == "NULL":
        return [None] * len(parents)
    return [payload] * len(parents)


async def number_now(context: Context, parents: Sequence[Any]) -> list[Any]:
    """As it is while the payload is answered, after a while."""
    for _ in range(3):
        await asyncio.sleep(0)
    return [context.number] * len(parents)


@strawberry.type(description=TEXT)
class Changed:
    value: int = strawberry.field(description=TEXT)
    number: int = strawberry.field(description=TEXT)
    now: int = batch_field(number_now, description=TEXT)
    log: list[str] = strawberry.field(description=TEXT)
    nothing: int | None = strawberry.field(description=TEXT)
    nothing_set: int = strawberry.field(description=TEXT)
    being: Being | None = shaped("being", "T")
    dear: Being = shaped("being", "T!")
    lab: LazyLab = batch_field(lab_of, description=TEXT)


async def ordinary_add(info: Info, amount: int = 1) -> Changed:
    await asyncio.sleep(0)
    return changed(info.context, f"ordinary {amount}", info.context.number + amount)  # pyright: ignore[reportReturnType]


@strawberry.type(description=TEXT)
class Mutation:
    add: Changed = batch_field(added, description=TEXT, parameters=[parameter("amount", int, 1)])
    add_maybe: Changed | None = batch_field(added, description=TEXT, parameters=[parameter("amount", int, 1)])
    multiply: Changed | None = batch_field(multiplied, description=TEXT, parameters=[parameter("by", int, ABSENT)])
    take: Changed | None = batch_field(taken, description=TEXT, parameters=[parameter("nest", Nest, ABSENT)])
    fail: Changed | None = batch_field(failed, description=TEXT, parameters=[parameter("fault", Fault, Fault.RAISE)])
    fail_set: Changed = batch_field(failed, description=TEXT, parameters=[parameter("fault", Fault, Fault.RAISE)])
    count: int | None = batch_field(number_now, description=TEXT)
    ordinary_add: Changed = strawberry.mutation(resolver=ordinary_add, description=TEXT)


# --- Subscriptions: their events are beings, or what a resolver may give by mistake ---


async def beings_from(context: Context, start: int = 0, count: int = 3, fault: str | None = None) -> Events:
    await asyncio.sleep(0)
    if fault == "RAISE":
        raise Trouble(f"no stream from {start}")

    async def events() -> Events:
        try:
            for number in range(start, start + min(abs(count), 5)):
                await asyncio.sleep(0)
                context.log.append(f"event {number}")
                yield {"ERROR": Trouble(f"event {number}"), "NULL": None}.get(fault or "", being(number))
            if fault == "SHORT":
                raise Trouble("the stream has ended with an error")
        finally:
            context.log.append("closed")

    return events()


FROM = [parameter("start", int, 0), parameter("count", int, 3), parameter("fault", Fault | None, None)]


async def ordinary_events(info: Info, count: int = 2) -> AsyncGenerator[int]:
    for number in range(min(abs(count), 5)):
        yield number


@strawberry.type(description=TEXT)
class Subscription:
    beings: LazyBeing = stream_field(beings_from, description=TEXT, parameters=FROM)
    maybe_beings: LazyBeing | None = stream_field(beings_from, description=TEXT, parameters=FROM)
    ordinary_events: AsyncGenerator[int] = strawberry.subscription(resolver=ordinary_events, description=TEXT)


def read(source: Any, name: str) -> Any:
    try:
        return source[name]
    except TypeError:
        return getattr(source, name)


def write_stamp(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no stamp")
    return f"{value}Z"


def read_stamp(value: Any) -> str:
    if not isinstance(value, str):
        raise GraphQLError(f"{value!r} is no stamp", extensions={"code": "BAD_STAMP"})
    if value.startswith("bad"):
        raise ValueError("This stamp is bad.")
    return f"read {value}"


def write_blob(value: Any) -> Any:
    if isinstance(value, float | set | bytes):
        raise TypeError(f"no blob: {value!r}")
    return orjson.Fragment(orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS))


SCALARS: dict[object, Any] = {
    Stamp: strawberry.scalar(name="Stamp", description=TEXT, serialize=write_stamp, parse_value=read_stamp),
    Written: strawberry.scalar(name="Written", description=TEXT, serialize=json_text, parse_value=lambda value: value),
    Blob: strawberry.scalar(name="Blob", description=TEXT, serialize=write_blob, parse_value=lambda value: value),
}

schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[Person, Cat, Dog, Rock],
    config=StrawberryConfig(scalar_map=SCALARS, default_resolver=read),
)
