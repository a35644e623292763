"""Credentials as the endpoint asks them, on a database of their own, and the parts that tokens are forged from."""

import asyncio
import base64
import json
from collections.abc import Coroutine
from time import time
from typing import Any

import jwt
import pytest

from models.scope import Scope
from recallql.auth.credentials import Credentials, Unauthenticated
from recallql.settings import Settings
from resolvers.credentials import (
    create_api_key,
    issue_user_token,
)
from resolvers.operation_context import OperationContext
from resolvers.times import Clock
from resolvers.users import create_user, delete_user
from resolvers.viewers import Viewer
from tests.places import Place


class Desk:
    """Credentials on a database, in a loop of their own; `now` is their clock, when it is set."""

    def __init__(self, place: Place, **given: Any) -> None:
        self.place = place
        self.now: float | None = None
        self.runner = asyncio.Runner()
        self.database = self.run(place.database.open())
        self.clock = Clock()
        self.credentials = self.another(**given)

    def another(self, **given: Any) -> Credentials:
        """Credentials that remember nothing yet."""
        chosen: dict[str, Any] = {"database_url": self.place.url, **given}
        return Credentials(self.database, Settings(**chosen), now=lambda: self.now or time())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(coroutine)

    def context(self, project: str = "default") -> OperationContext:
        return OperationContext(self.database, self.clock, Scope(project))

    def viewer(self, credential: str | None, credentials: Credentials | None = None) -> Viewer:
        return self.ask(None if credential is None else f"Bearer {credential}", credentials)

    def ask(self, authorization: str | None, credentials: Credentials | None = None) -> Viewer:
        """Whom this header's value speaks for, as the endpoint finds out."""

        async def ask() -> Viewer:
            return await (credentials or self.credentials).viewer(authorization)

        return self.run(ask())

    def refused(self, credential: str | None, credentials: Credentials | None = None) -> str:
        """The message with which a credential is refused."""
        with pytest.raises(Unauthenticated) as refusal:
            self.viewer(credential, credentials)
        return str(refusal.value)

    def key(self, project: str = "default") -> str:
        return self.run(create_api_key(self.context(), {"name": "test", "project": project}))[1]

    def user(self, user_id: str = "ada", project: str = "default") -> None:
        self.run(create_user(self.context(project), {"user_id": user_id}))

    def erase(self, user_id: str = "ada", project: str = "default") -> None:
        self.run(delete_user(self.context(project), {"user_id": user_id}))

    def token(self, user_id: str = "ada", project: str = "default", life: int | None = None) -> str:
        values = {"user_id": user_id, "expires_in_seconds": life}
        return self.run(issue_user_token(self.context(project), values))["token"]

    def secret(self) -> tuple[str, bytes]:
        """The key id and the secret that tokens are signed with."""
        return self.place.query("SELECT kid, secret FROM signing_keys WHERE retired_at IS NULL")[0]  # type: ignore[return-value]

    def close(self) -> None:
        self.run(self.credentials.close())
        self.run(self.database.close())
        self.runner.close()


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: Any, claims: Any, secret: bytes) -> str:
    """A token with any header and claims at all, signed by HMAC-SHA256."""
    text = f"{part(header)}.{part(claims)}"
    return f"{text}.{part(jwt.algorithms.HMACAlgorithm('sha256').sign(text.encode(), secret))}"  # type: ignore[arg-type]


def ours(desk: Desk, **changed: Any) -> dict[str, Any]:
    """Right claims, with some changed; None takes one away."""
    claims: dict[str, Any] = {
        "iss": "recallql",
        "aud": "recallql",
        "sub": "ada",
        "project": "default",
        "iat": time() - 1,
    }
    claims |= {"exp": time() + 600, **changed}
    return {name: value for name, value in claims.items() if value is not None}
