"""Whatever clients do at the same time, every answer is one of the API's own, and the data fit together."""

import time
from collections.abc import Callable
from random import Random
from typing import Any

from tests.documents import mutation
from tests.places import Place
from tests.racing.races import Servers, nothing_is_left, said, send
from tests.servers import Api

SECONDS = 3.0
USERS, SESSIONS, AGENTS = ("u", "v"), ("s", "t", "w"), ("a",)
TEXTS = ("I live in Paris.", "I live in Berlin.", "I love green tea.", "My name is Ann.", "hello")

ONE_PLACE = """SELECT count(*) FROM (
  SELECT 1 FROM memories WHERE method = 'RULE' AND superseded_from IS NULL AND deleted_at IS NULL AND subject = 'home'
  GROUP BY user_key, about_folded, CASE WHEN user_key IS NULL THEN session_key END HAVING count(*) > 1) AS twice"""
ONE_SUMMARY = """SELECT count(*) FROM (
  SELECT 1 FROM memories WHERE kind = 'SUMMARY' AND superseded_from IS NULL AND deleted_at IS NULL
  GROUP BY user_key, session_key, agent_key, about_folded HAVING count(*) > 1) AS twice"""


class Client:
    """Sends one mutation after the other, chosen by chance; what it names may be there or not."""

    def __init__(self, number: int, ids: dict[str, list[str]]) -> None:
        self.chance = Random(number)
        self.ids = ids

    def run(self, api: Api) -> int:
        end, sent = time.monotonic() + SECONDS, 0
        while time.monotonic() < end:
            name, selection, fields = self.chance.choices(*CHOICES)[0](self)
            noun = selection.split()[0]
            payload = send(
                api, mutation(name, f"{selection} {{ id }}" if selection in self.ids else selection), **fields
            )
            found = payload.get(noun) or []
            if noun in self.ids:
                self.ids[noun] += [row["id"] for row in (found if isinstance(found, list) else [found])]
            sent += 1
        return sent

    def one(self, *of: Any) -> Any:
        return self.chance.choice(of)

    def id(self, noun: str) -> dict[str, str]:
        return {"id": self.chance.choice(self.ids[noun][-20:] or ["none"])}

    @property
    def user(self) -> dict[str, str]:
        return {"userId": self.one(*USERS)}

    @property
    def session(self) -> dict[str, str]:
        return {"sessionId": self.one(*SESSIONS)}

    @property
    def agent(self) -> dict[str, str]:
        return {"agentId": self.one(*AGENTS)}

    @property
    def text(self) -> str:
        return self.one(*TEXTS)

    def named(self, noun: str, count: int) -> list[str]:
        return self.ids[noun][-count:]


Choice = Callable[[Client], tuple[str, str, dict[str, Any]]]

CHOICES: tuple[list[Choice], list[int]] = (
    [
        lambda by: (
            *("addMessages", "messages"),
            {**by.session, **by.one({}, by.user), "messages": said(*(by.text for _ in range(by.one(1, 2, 12))))},
        ),
        lambda by: ("upsertUser", "user { id }", {**by.user, "name": by.one("Ann", "Bob")}),
        lambda by: ("upsertAgent", "agent { id }", {**by.agent, "name": "A"}),
        lambda by: ("createSession", "session { id }", {**by.session, **by.user, **by.agent}),
        lambda by: (
            *("createMemory", "memory"),
            {**by.one(by.user, by.session, by.agent), "kind": by.one("FACT", "SUMMARY"), "content": by.text}
            | by.one({}, {"sources": by.named("messages", 2)}, {"supersedes": by.named("memory", 1)}),
        ),
        lambda by: ("updateMemory", "memory", {**by.id("memory"), "content": by.text}),
        lambda by: ("deleteMemory", "deletedMemoryId", by.id("memory")),
        lambda by: ("createDocument", "document", {**by.one(by.user, by.agent), "title": "t", "content": by.text}),
        lambda by: ("updateDocument", "document", {**by.id("document"), "content": by.text}),
        lambda by: ("deleteDocument", "deletedDocumentId", by.id("document")),
        lambda by: ("updateMessage", "message { id }", {**by.id("messages"), "content": by.text}),
        lambda by: ("deleteMessage", "deletedMessageId", by.id("messages")),
        lambda by: ("updateSession", "session { id }", {**by.session, **by.one(by.user, {"userId": None}, by.agent)}),
        lambda by: ("endSession", "session { id }", by.session),
        lambda by: ("reopenSession", "session { id }", by.session),
        lambda by: ("deleteSession", "deletedSessionId", {**by.session, "permanently": by.one(True, False)}),
        lambda by: ("cloneSession", "session { id }", by.session),
        lambda by: ("deleteMemories", "hasMore", by.one(by.user, by.session)),
        lambda by: ("deleteAgent", "deletedAgentId", by.agent),
        lambda by: ("deleteUser", "deletedUserId", by.user),
        lambda by: ("mergeUsers", "user { id }", {"fromUserId": by.one(*USERS), "intoUserId": by.one(*USERS)}),
        lambda by: ("renameUser", "user { id }", {**by.user, "newUserId": by.one(*USERS)}),
        lambda by: ("purgeDeleted", "sessions", {"deletedBefore": "2100-01-01T00:00:00Z"}),
    ],
    [12, 3, 3, 2, 5, 2, 2, 2, 2, 1, 3, 3, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1],
)


def test_everything_at_the_same_time_leaves_data_that_fit_together(two_servers: Servers, place: Place) -> None:
    ids: dict[str, list[str]] = {"messages": [], "memory": [], "document": []}
    sent = two_servers.race(*(Client(number, ids).run for number in range(8)))
    assert min(sent) > 0
    nothing_is_left(place)
    assert [place.query(query) for query in (ONE_PLACE, ONE_SUMMARY)] == [[(0,)]] * 2
