"""A subscription answers each event as graphql-core does, and ends as it should."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings

import tests.breadth.everything as synthetic
from breadth import Answer, Executor, Request, Subscription, SubscriptionRefused
from tests.breadth.generated import EXAMPLES, UNHURRIED, Case, Outcome, cases, compare, describe, outcomes

# graphql-core leaves coroutines behind where an error has made their answers needless.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

HINTS: dict[str, Sequence[Any]] = {"count": [2, 1, 3, 0], "pause": [0, 1], "start": [0, 1, 2, 7], "which": [0, 5, 9]}

Both = Callable[[Case], tuple[list[Outcome], list[Outcome]]]

BEINGS = (
    "subscription Beings($fault: Fault) { beings(start: 4, fault: $fault) { number friends { id } lab { number } } }"
)


@pytest.fixture(scope="module")
def both(runner: asyncio.Runner) -> Both:
    """Both answers to each event: graphql-core's, and that of breadth-first execution."""
    core, breadth = [Executor(synthetic.schema, describe, reference=reference) for reference in (True, False)]

    def effects(context: synthetic.Context) -> Any:
        return context.number, context.log

    def ask(case: Case) -> tuple[list[Outcome], list[Outcome]]:
        wanted, got = [runner.run(outcomes(each, case, synthetic.Context(), effects)) for each in (core, breadth)]
        return wanted, got

    return ask


def compare_all(case: Case, wanted: Sequence[Outcome], got: Sequence[Outcome]) -> None:
    assert len(wanted) == len(got), (case, wanted, got)
    for one, other in zip(wanted, got, strict=True):
        compare(case, one, other)


def test_generated_subscriptions_are_answered_as_graphql_core_does(both: Both) -> None:
    events = 0

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=UNHURRIED)
    @given(cases(synthetic.schema._schema, "subscription", HINTS))
    def compare_one(case: Case) -> None:
        nonlocal events
        wanted, got = both(case)
        compare_all(case, wanted, got)
        events += len(got)

    compare_one()
    assert events > EXAMPLES


@pytest.mark.parametrize("fault", [None, *(one.name for one in synthetic.Fault)])
def test_a_stream_that_goes_wrong_ends_as_under_graphql_core(both: Both, fault: str | None) -> None:
    case = Case(BEINGS, {"fault": fault}, None)
    wanted, got = both(case)
    compare_all(case, wanted, got)
    failed = [outcome for outcome in got if "errors" in outcome.body]
    assert len(failed) == {"RAISE": 1, "ERROR": 3, "NULL": 3, "SHORT": 1}.get(fault or "", 0)


def test_a_field_of_another_kind_is_left_to_graphql_core(both: Both) -> None:
    case = Case("subscription { ordinaryEvents(count: 3) }", {}, None)
    wanted, got = both(case)
    compare_all(case, wanted, got)
    assert [outcome.body for outcome in got] == [{"data": {"ordinaryEvents": number}} for number in range(3)]


@pytest.fixture
def executor() -> Executor:
    return Executor(synthetic.schema, describe)


async def started(executor: Executor, query: str, context: synthetic.Context) -> Subscription:
    found = await executor.subscribe(Request(query), context)
    assert isinstance(found, Subscription), found
    return found


def test_a_stream_is_closed_by_the_one_who_started_it(executor: Executor) -> None:
    async def leave() -> list[str]:
        context = synthetic.Context()
        subscription = await started(executor, "subscription { beings(count: 5) { number } }", context)
        async for event in subscription.events:
            answer = await subscription.answer(event, synthetic.Context())
            assert answer.body == {"data": {"beings": {"number": 0}}}
            break
        await subscription.events.aclose()
        return context.log

    assert asyncio.run(leave()) == ["event 0", "closed"]


def test_a_query_in_place_of_a_subscription_is_answered(executor: Executor) -> None:
    answer = asyncio.run(executor.subscribe(Request("{ being { number } }"), synthetic.Context()))
    assert isinstance(answer, Answer)
    assert answer.body == {"data": {"being": {"number": 0}}}


def test_a_subscription_is_not_run_as_a_query(executor: Executor) -> None:
    with pytest.raises(SubscriptionRefused):
        asyncio.run(executor.execute(Request(BEINGS), synthetic.Context()))


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription { beings { number } maybeBeings { number } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { __typename }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { beings @skip(if: true) { number } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { beings { nothing_of_this_name } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { beings(start: true) { number } }", "BAD_USER_INPUT"),
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
    ],
)
def test_a_subscription_that_is_not_valid_does_not_start(executor: Executor, query: str, code: str) -> None:
    answer = asyncio.run(executor.subscribe(Request(query), synthetic.Context()))
    assert isinstance(answer, Answer)
    assert not answer.executed
    assert [error["extensions"]["code"] for error in answer.body["errors"]] == [code], json.dumps(answer.body)
