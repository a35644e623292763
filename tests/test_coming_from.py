"""docs/coming-from.md: each row of its tables is carried out on the data that the page imports."""

import json
import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from graphql import print_schema

from recallql.commands.archive import import_file
from recallql.settings import Settings
from tests.archives import serving
from tests.documentation import PAGES, SCHEMA, blocks_of, names_in
from tests.places import Fresh, Place
from tests.servers import Server

pytestmark = pytest.mark.once

PAGE = PAGES["coming-from"]
HEADER, RULER = "| Call | Here | What differs |", "|---|---|---|"
NOTHING = "–"
MUTATIONS = SCHEMA.mutation_type.fields if SCHEMA.mutation_type else {}
QUERIES = SCHEMA.query_type.fields if SCHEMA.query_type else {}


def rows() -> Iterator[tuple[str, str, str, str]]:
    """The section, the calls, the operations and the remarks of each row."""
    section, is_row = "", False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            section = line.lstrip("# ")
        is_row = line in (HEADER, RULER) or (is_row and line.startswith("|"))
        if is_row and line not in (HEADER, RULER):
            yield section, *_cells(line)


def _cells(line: str) -> tuple[str, str, str]:
    calls, here, differs = (cell.strip() for cell in line.strip("|").split("|"))
    return calls, here, differs


ROWS = list(rows())


def move(place: Place) -> None:
    """Imports the lines that the page imports."""
    (block,) = [block.text for block in blocks_of(PAGE) if block.info == "sh" and "old.ndjson" in block.text]
    lines = "".join(f"{line}\n" for line in block.splitlines() if line.startswith("{")).encode()
    import_file(BytesIO(lines), Settings(database_url=place.url), size=len(lines))


@pytest.fixture(scope="module")
def moved(shared: Fresh) -> Iterator[Server]:
    """A server for the rows that only read."""
    place = shared()
    move(place)
    with serving(place) as running:
        yield running


def document(operation: str) -> str:
    """A whole document of an operation as the tables have it: with its variables, and the errors of a mutation."""
    given = {"$id": "ID!", "$after": "String"}
    declared = [f"{name}: {kind}" for name, kind in given.items() if name in operation]
    variables = f"({', '.join(declared)})" if declared else ""
    if operation_name(operation) in MUTATIONS:
        assert operation.endswith("}"), f"select something in {operation}"
        return f"mutation {variables} {{ {operation[:-1]} userErrors {{ message }} }} }}"
    return f"query {variables} {{ {operation} }}"


def operation_name(code: str) -> str | None:
    found = re.match(r"(\w+)(\(| \{)", code)
    return found[1] if found and found[1] in MUTATIONS.keys() | QUERIES.keys() else None


def values_named(name: str, answer: Any) -> Iterator[Any]:
    """All values of fields with this name in an answer."""
    if isinstance(answer, dict):
        for key, value in answer.items():
            if key == name:
                yield value
            yield from values_named(name, value)
    elif isinstance(answer, list):
        for item in answer:
            yield from values_named(name, item)


def rows_where(changes: bool) -> pytest.MarkDecorator:
    """The rows that name mutations, or those that name queries only."""
    chosen = [
        row[:3]
        for row in ROWS
        if row[2] != NOTHING and changes == any(operation_name(code) in MUTATIONS for code in names_in(row[2]))
    ]
    ids = [f"{section}: {calls}"[:60] for section, calls, _ in chosen]
    return pytest.mark.parametrize(("section", "calls", "here"), chosen, ids=ids)


@rows_where(changes=True)
def test_every_row_that_changes_something_does_what_it_says(place: Place, section: str, calls: str, here: str) -> None:
    move(place)
    with serving(place) as server:
        carry_out(server, section, calls, here)


@rows_where(changes=False)
def test_every_row_that_reads_does_what_it_says(moved: Server, section: str, calls: str, here: str) -> None:
    carry_out(moved, section, calls, here)


def carry_out(server: Server, section: str, calls: str, here: str) -> None:
    """Carries out the operations of a row, each with what the one before has returned."""
    operations = [code for code in names_in(here) if operation_name(code)]
    assert operations == names_in(here), f"{section}: {calls} names something that is no operation"
    assert operations
    id = None
    for operation in operations:
        data = server.graphql(document(operation), **{"id": id} if "$id" in operation else {})
        assert None not in data.values(), data
        check(operation, data)
        id = next(values_named("id", data), None)
        for cursor in values_named("endCursor", data) if "$after" in operation else ():
            server.graphql(document(operation), after=cursor)


def check(operation: str, data: dict[str, Any]) -> None:
    """The operation was carried out, and what it lists is there."""
    assert not any(values_named("userErrors", data)), json.dumps(data)
    for name in ("nodes", "edges", "chat", "deletedMemoryIds", "deletedDocumentIds", "deletedMessageIds"):
        assert all(values_named(name, data)), f"{operation} finds nothing: {json.dumps(data)}"


@pytest.mark.parametrize("call", ["memory.search_sessions", "thread.get_user_context", "docs.bulk_delete", "to_openai"])
def test_somebody_who_searches_for_a_call_finds_it(call: str) -> None:
    assert any(call in calls for _, calls, *_ in ROWS)


def test_no_row_is_without_an_answer() -> None:
    assert len(ROWS) > 150
    for _, calls, here, _ in ROWS:
        assert names_in(calls), calls
        assert here == NOTHING or names_in(here), calls


def test_what_the_remarks_name_is_in_the_schema() -> None:
    """Our names are in camel case, theirs are not."""
    schema = set(re.findall(r"\w+", re.sub(r'"""(.|\n)*?"""', "", print_schema(SCHEMA))))
    named = set(re.findall(r"\b[a-z]+[A-Z]\w*", " ".join(name for *_, differs in ROWS for name in names_in(differs))))
    assert len(named) > 20
    assert named - schema == set()
