"""Credentials: API keys, which authenticate the application, and user tokens, which it issues for its users.

A user token is a JWT (RFC 7519) signed with HS256. Beside the registered claims it has `project`, `permissions` (older
tokens have none, and stand for READ and WRITE), and `gen`: the number of erasures under the user's key when it was
issued. Another erasure invalidates it, whatever the clocks say.
"""

import secrets
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import TypedDict

import orjson
from jwt import PyJWS

from models.api_keys import insert_api_key
from models.api_keys import list_api_keys as all_api_keys
from models.api_keys import revoke_api_key as revoke
from models.erasure import last_erasure
from models.keys import user_key
from models.locks import hold_name
from models.rows import ApiKeyRow, SigningKeyRow
from models.signing_keys import (
    current_signing_key,
    forget_signing_keys,
    insert_signing_key,
    retire_signing_keys,
)
from models.store import Transaction
from models.users import user_by_id
from models.values import Time
from resolvers.errors import refuse
from resolvers.grants import BY_DEFAULT, listed
from resolvers.inputs import Found, Rule, Values, check, integer_rule, key_rule
from resolvers.operation_context import OperationContext
from resolvers.times import ago, epoch_seconds, later

DEFAULT_LIFE = 15 * 60
LARGEST_LIFE = 24 * 60 * 60
KEY_PREFIX = "rql_"
ISSUER = AUDIENCE = "recallql"
ALGORITHM = "HS256"
SIGNING_KEYS = "signing keys"
"""The name that a transaction holds which looks for the current signing key, and may create one."""


def name_rule(value: str) -> Found:
    if 1 <= len(value) <= 200 and value.isprintable():
        return None
    return "INVALID", "A name of a key has 1 to 200 characters that can be shown on a line."


def permissions_rule(value: list[str]) -> Found:
    if value:
        return None
    return "INVALID", "A token without permissions opens nothing; name some, or leave them out for READ and WRITE."


TOKEN_RULES: dict[str, Rule] = {
    "user_id": key_rule,
    "expires_in_seconds": integer_rule(1, LARGEST_LIFE),
    "permissions": permissions_rule,
}
KEY_RULES: dict[str, Rule] = {"name": name_rule, "project": key_rule}


def key_hash(key: str) -> bytes:
    """The stored hash of an API key. The key has 256 random bits, so that a fast hash is enough to keep it secret."""
    return sha256(key.encode("utf-8", "surrogatepass")).digest()


class IssuedToken(TypedDict):
    token: str
    expires_at: Time


async def issue_user_token(context: OperationContext, values: Values) -> IssuedToken:
    """Issues a token for an existing user; returns it with its expiry time."""
    check(values, TOKEN_RULES)
    permissions = BY_DEFAULT if values.get("permissions") is None else frozenset(values["permissions"])
    life = DEFAULT_LIFE if values.get("expires_in_seconds") is None else values["expires_in_seconds"]
    user_id, project = values["user_id"], context.scope.project
    signing = await current_signing_key(context.read) or await _first_signing_key(context)
    # Before the user is looked up: an erasure in between leaves an invalid token.
    erasure = await last_erasure(context.read, user_key(project, user_id))
    if await user_by_id(context.read, context.scope, user_id) is None:
        raise refuse("NOT_FOUND", "There is no user with this userId.", "userId")
    now = context.clock.now()
    expires_at = later(now, timedelta(seconds=life))
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": user_id,
        "project": project,
        "iat": epoch_seconds(now),
        "exp": epoch_seconds(expires_at),
        "gen": 0 if erasure is None else erasure["generation"],
        "permissions": listed(permissions),
    }
    # Not `jwt.encode`: it writes characters as \u escapes, and a long user id would not fit into a header.
    token = PyJWS().encode(orjson.dumps(claims), signing["secret"], ALGORITHM, headers={"kid": signing["kid"]})
    return {"token": token, "expires_at": expires_at}


async def _first_signing_key(context: OperationContext) -> SigningKeyRow:
    async def operation(write: Transaction) -> SigningKeyRow:
        # Another process may have created it meanwhile.
        await hold_name(write, SIGNING_KEYS)
        return await current_signing_key(write) or await _make_signing_key(write, context)

    return await context.write(operation)


async def _make_signing_key(write: Transaction, context: OperationContext) -> SigningKeyRow:
    row: SigningKeyRow = {
        "kid": secrets.token_hex(8),
        "secret": secrets.token_bytes(32),
        "created_at": context.clock.now(),
        "retired_at": None,
    }
    return await insert_signing_key(write, row)


async def rotate_signing_key(context: OperationContext, *, at_once: bool) -> str:
    """Creates a key, which signs from now on, and returns its id.

    Tokens signed before stay valid until they expire; with `at_once` all of them become invalid.
    """

    async def operation(write: Transaction) -> SigningKeyRow:
        await hold_name(write, SIGNING_KEYS)
        if at_once:
            await forget_signing_keys(write)
        longest = ago(timedelta(seconds=LARGEST_LIFE))
        await retire_signing_keys(write, context.clock.now(), forget_before=longest)
        return await _make_signing_key(write, context)

    return (await context.write(operation))["kid"]


async def create_api_key(context: OperationContext, values: Values) -> tuple[ApiKeyRow, str]:
    """Creates a key; returns its row and the key itself, which is not stored; `values` are its name and project."""
    check(values, KEY_RULES)
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    row: ApiKeyRow = {
        "id": secrets.token_hex(6),
        "name": values["name"],
        "project": values["project"],
        "hash": key_hash(key),
        "created_at": context.clock.now(),
        "revoked_at": None,
    }

    async def operation(write: Transaction) -> ApiKeyRow:
        return await insert_api_key(write, row)

    return await context.write(operation), key


async def list_api_keys(context: OperationContext) -> Sequence[ApiKeyRow]:
    """All keys of all projects, the oldest first."""
    return await all_api_keys(context.read)


async def revoke_api_key(context: OperationContext, id: str) -> ApiKeyRow:
    """Revokes a key and returns its row; revoking it again changes nothing."""

    async def operation(write: Transaction) -> ApiKeyRow:
        row = await revoke(write, id, context.clock.now())
        if row is None:
            raise refuse("NOT_FOUND", f"There is no key with the id {id}; `recallql key list` shows them all.", "id")
        return row

    return await context.write(operation)
