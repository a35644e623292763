"""The deadline of a request, and the rate of a credential."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallql.http.throttle import Throttle, TooMany
from tests.servers import Api, Server, Start, wait_until

TOKEN = 'mutation { issueUserToken(input: {userId: "ada"}) { token } }'


def user_of(server: Server) -> Api:
    server.graphql('mutation { upsertUser(input: {userId: "ada"}) { created } }')
    api = Api(server.port, server.place)
    api.client.headers["authorization"] = f"Bearer {server.graphql(TOKEN)['issueUserToken']['token']}"
    return api


def test_a_users_requests_over_the_rate_are_refused_with_the_time_to_wait(start: Start) -> None:
    server = start(user_per_minute=3)
    ada = user_of(server)
    for _ in range(3):
        assert ada.graphql("{ viewer { role } }") == {"viewer": {"role": "USER"}}
    refused = ada.post({"query": "{ viewer { role } }"})
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    (error,) = refused.json()["errors"]
    assert error["extensions"]["code"] == "RATE_LIMITED"
    assert "3" in error["message"]
    assert server.graphql("{ viewer { role } }") == {"viewer": {"role": "SERVICE"}}, "others go on"
    ada.close()


def test_every_request_that_was_let_in_is_let_go(start: Start) -> None:
    server = start(user_in_flight=1, user_per_minute=0)
    ada = user_of(server)
    erase = 'mutation { deleteUser(input: {userId: "x"}) { userErrors { code } } }'
    for document in ("{ viewer { role } }", "{ nonsense }", erase):
        for _ in range(3):
            assert ada.post({"query": document}).status_code in (200, 400)
    for body in (b"5", b"{", b"\xff"):
        assert ada.post(body).status_code == 400
    assert ada.graphql("{ viewer { role } }")
    ada.close()


def test_requests_of_a_user_at_the_same_time_are_limited(start: Start) -> None:
    server = start(user_in_flight=2, user_per_minute=0)
    ada = user_of(server)
    say = (
        'mutation { addMessages(input: {sessionId: "s", messages: [{role: USER, content: "Hello"}]}) { deduplicated } }'
    )
    statuses: list[int] = []

    def send() -> None:
        api = Api(server.port, server.place)
        api.client.headers = ada.client.headers
        statuses.append(api.post({"query": say}).status_code)
        api.close()

    # While another process writes, mutations wait.
    with server.place.blocking_writes():
        threads = [threading.Thread(target=send) for _ in range(6)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(statuses) == 4)
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 200, 429, 429, 429, 429]
    assert (
        ada.graphql('{ session(sessionId: "s") { messages { totalCount } } }')["session"]["messages"]["totalCount"] == 2
    )
    ada.close()


def fill(server: Server, sessions: int) -> None:
    messages = [{"role": "USER", "content": "x", "metadata": {"n": n}} for n in range(100)]
    add = "mutation($input: AddMessagesInput!) { addMessages(input: $input) { deduplicated } }"
    for number in range(sessions):
        server.graphql(add, input={"sessionId": f"s{number}", "messages": messages})


LISTS = " ".join(
    f"m{n}: messages(filter: {{metadata: {{n: {{m: [1, {n}]}}}}}}) {{ totalCount nodes {{ id }} }}" for n in range(30)
)
SLOW = f"{{ sessions(first: 50) {{ nodes {{ {LISTS} }} }} }}"


def test_a_request_that_takes_too_long_is_given_up_and_others_go_on(start: Start) -> None:
    filled = start()
    fill(filled, 50)
    server = start(place=filled.place, request_timeout=0.02)
    body = server.post({"query": SLOW}).json()
    assert {error["extensions"]["code"] for error in body["errors"]} == {"TIMEOUT"}
    # On a loaded machine another request may take too long, too.
    other = {"query": '{ session(sessionId: "s1") { sessionId } }'}
    assert wait_until(lambda: server.post(other).json().get("data")) == {"session": {"sessionId": "s1"}}


@pytest.mark.sqlite
def test_what_is_waited_for_in_vain_is_no_lost_mutation(start: Start) -> None:
    """A mutation once queued is carried out, also when its answer came too late."""
    server = start(request_timeout=0.3)
    with server.place.blocking_writes():
        answer = server.post({"query": 'mutation { createUser(input: {userId: "late"}) { user { id } } }'})
        assert answer.json()["errors"][0]["extensions"]["code"] == "TIMEOUT"
    query = '{ user(userId: "late") { userId } }'
    assert wait_until(lambda: server.graphql(query)["user"]) == {"userId": "late"}


@given(st.integers(1, 50), st.lists(st.floats(0, 30), max_size=200))
def test_no_more_pass_in_any_minute_than_twice_the_rate(per_minute: int, pauses: list[float]) -> None:
    """A full bucket, and what drips into it meanwhile."""
    now = 0.0
    throttle = Throttle(in_flight=0, per_minute=per_minute, now=lambda: now)
    passed: list[float] = []
    for pause in pauses:
        now += pause
        try:
            throttle.enter("ada")
        except TooMany as refusal:
            now += refusal.retry_after
            throttle.enter("ada")
        throttle.leave("ada")
        passed.append(now)
    for start in passed:
        assert sum(start <= at <= start + 60 for at in passed) <= 2 * per_minute + 1
