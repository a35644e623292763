"""The tables of the documentation, and the names and numbers in it, are those of the code."""

import re

import pytest
from graphql import GraphQLObjectType

from docs.reference import LIMITS, TABLES, named_settings, rewritten
from models.parts import LOW_DETAIL, MEDIA_TOKENS
from recallql.commands.archive import BATCH
from recallql.commands.cli import SKIPPED_LINES
from recallql.commands.lines import line_types
from recallql.http.statuses import PARTIAL_SUCCESS, STATUSES
from recallql.settings import Settings
from resolvers.archive.kinds import KINDS
from tests.documentation import CONTRIBUTING, PAGES, PLAYGROUND, README, SCHEMA, blocks_of, names_in, rows_of
from tests.servers import REPOSITORY

TEXTS = {name: page.read_text(encoding="utf-8") for name, page in PAGES.items()}


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_of_a_page_are_those_that_make_reference_writes(page: str) -> None:
    assert TEXTS[page] == rewritten(TEXTS[page])


def test_a_table_that_is_not_as_the_code_has_it_is_found() -> None:
    text = TEXTS["limits"]
    assert "| 1 to 512 characters |" in text
    assert rewritten(text.replace("1 to 512", "1 to 511")) == text


def test_every_setting_stands_in_its_page_once() -> None:
    assert sorted(named_settings(TEXTS["settings"])) == sorted(Settings.model_fields)


def test_every_constant_of_the_code_that_limits_an_input_is_among_those_of_the_table() -> None:
    pattern = re.compile(r"^((?:LARGEST|DEFAULT)_\w+|\w+_BYTES|\w+_CHARACTERS|\w+_AT_ONCE|LEVELS) = ", re.MULTILINE)
    found = {
        f"{'.'.join(path.relative_to(REPOSITORY).with_suffix('').parts)}.{name}"
        for folder in ("resolvers", "recallql", "schema", "models")
        for path in (REPOSITORY / folder).rglob("*.py")
        for name in pattern.findall(path.read_text(encoding="utf-8"))
    }
    named = {name for _, limit in LIMITS for name in re.findall(r"\{([\w.]+)", limit)}
    assert found - named == set()


def test_no_page_names_a_command_that_does_not_exist() -> None:
    commands = {command.strip("`").removeprefix("recallql ") for command, _ in TABLES["commands"]()[1:]}
    assert len(commands) > 12
    groups = "|".join({name.split()[0] for name in commands if " " in name})
    # A URL may end with a database of this name.
    pattern = re.compile(rf"(?<!\d/)recallql ((?:(?:{groups}) )?[a-z][a-z-]*)")
    for page in (README, CONTRIBUTING, *PAGES.values()):
        named = set(pattern.findall("\n".join(names_in(page.read_text(encoding="utf-8")))))
        assert named - commands == set(), page.name


@pytest.mark.parametrize("root", ["Query", "Mutation", "Subscription"])
def test_every_field_of_the_root_is_used_in_the_playground_tour(root: str) -> None:
    queries = " ".join(block.text for block in blocks_of(PLAYGROUND) if block.info == "graphql")
    root_type = SCHEMA.type_map[root]
    assert isinstance(root_type, GraphQLObjectType)
    assert [name for name in root_type.fields if not re.search(rf"\b{name}\b\s*[({{]", queries)] == []


def test_every_code_of_an_error_stands_in_its_page() -> None:
    (tables,) = re.findall(r"^## Errors$.*?(?=^## )", TEXTS["http"], re.MULTILINE | re.DOTALL)
    codes = set(SCHEMA.type_map["UserErrorCode"].values)  # type: ignore[union-attr]
    for name in (
        "breadth/execution.py",
        "recallql/errors.py",
        "recallql/http/endpoint.py",
        "recallql/http/requests.py",
        "recallql/http/statuses.py",
    ):
        codes |= set(re.findall(r'"([A-Z][A-Z_]{6,})"', (REPOSITORY / name).read_text(encoding="utf-8")))
    codes -= {"OPTIONS", "CONNECT"}
    assert len(codes) > 12
    assert sorted(code for code in codes if f"`{code}`" not in tables) == []


def test_every_test_that_a_page_names_is_there() -> None:
    tests = {
        name
        for path in (REPOSITORY / "tests").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    for page, text in TEXTS.items():
        named = {name for name in names_in(text) if name.startswith("test_")}
        assert sorted(named - tests) == [], page


def test_every_statement_of_the_specification_names_its_tests() -> None:
    rows = rows_of(PAGES["http"], "Section", "Statement", "Tests")
    assert len(rows) > 50
    for section, statement, tests in rows:
        assert re.fullmatch(r"\d(\.\d)*", section), section
        assert statement.endswith("."), statement
        assert names_in(tests) or tests == "For clients", statement


def test_every_status_of_the_code_stands_in_its_page() -> None:
    rows = rows_of(PAGES["http"], "Status", "When", "Codes")
    told = {(code, int(status)) for status, _, codes in rows for code in names_in(codes)}
    assert set(STATUSES.items()) <= told
    assert {str(PARTIAL_SUCCESS), "406", "414"} <= {status for status, _, _ in rows}


def numbers_in(text: str) -> list[int]:
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", text)]


def test_every_number_of_tokens_of_media_stands_in_its_page() -> None:
    rows = rows_of(PAGES["messages"], "In `parts`", "Tokens")
    assert sorted(number for _, told in rows for number in numbers_in(told)) == sorted(
        [*MEDIA_TOKENS.values(), LOW_DETAIL]
    )


def test_every_field_that_an_exported_line_adds_stands_in_its_page() -> None:
    table = {
        kind.strip("`"): (names_in(base), added)
        for kind, base, added in rows_of(PAGES["import-export"], "Type", "Create input", "Added fields")
    }
    types = line_types()
    assert list(table) == ["user", "agent", "session", "message", "document", "memory"]
    assert set(table) == set(KINDS) == set(types)
    for kind, ([base], added) in table.items():
        fields = SCHEMA.type_map[base].fields  # type: ignore[union-attr]
        named = set(names_in(added.partition(";")[0]))
        assert named == set(types[kind].fields) - set(fields), kind


def test_the_batch_and_the_status_of_an_import_stand_in_its_page() -> None:
    assert f"{BATCH} lines" in TEXTS["import-export"]
    assert f"status {SKIPPED_LINES}" in TEXTS["import-export"]
