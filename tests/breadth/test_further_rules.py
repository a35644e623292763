"""A further rule of validation, for some clients: it is checked before anything runs, and once if it is obeyed."""

import asyncio
from typing import Any

from graphql import FieldNode, GraphQLError, ValidationRule

from breadth import Executor, Request
from tests.breadth.everything import Context, schema
from tests.breadth.generated import describe

TWO = "query Allowed { ordinary } query Refused { ...F } fragment F on Query { x: ordinary __typename }"


class NoAliases(ValidationRule):
    looked = 0

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        NoAliases.looked += 1
        if node.alias is not None:
            self.report_error(GraphQLError("No aliases.", node, extensions={"code": "FORBIDDEN"}))


def answer(executor: Executor, query: str, operation: str | None = None, **options: Any) -> dict[str, Any]:
    request = Request(query, operation_name=operation)
    return asyncio.run(executor.execute(request, Context(), **options)).body


def test_an_operation_that_breaks_the_rule_is_refused_for_the_clients_that_it_is_given_for() -> None:
    executor = Executor(schema, describe)
    for _ in range(2):
        refused = answer(executor, TWO, "Refused", rule=NoAliases)
        assert refused["data"] is None
        (error,) = refused["errors"]
        assert (error["message"], error["extensions"]) == ("No aliases.", {"code": "FORBIDDEN"})
        assert error["locations"] == [{"line": 1, "column": TWO.index("x: ") + 1}]
        assert answer(executor, TWO, "Allowed", rule=NoAliases) == {"data": {"ordinary": "ordinary 1"}}
        assert answer(executor, TWO, "Refused") == {"data": {"x": "ordinary 1", "__typename": "Query"}}


def test_an_operation_that_obeys_is_checked_once() -> None:
    executor = Executor(schema, describe)
    answer(executor, TWO, "Allowed", rule=NoAliases)
    before = NoAliases.looked
    answer(executor, TWO, "Allowed", rule=NoAliases)
    assert NoAliases.looked == before


def test_a_rule_that_says_nothing_of_codes_refuses_as_validation_does() -> None:
    class Nothing(ValidationRule):
        def enter_field(self, node: FieldNode, *_: Any) -> None:
            self.report_error(GraphQLError("Nothing.", node))

    refused = answer(Executor(schema, describe), "{ ordinary }", rule=Nothing)
    assert refused["errors"][0]["extensions"] == {"code": "GRAPHQL_VALIDATION_FAILED"}
