"""Settings: read once from the environment (`RECALLQL_` + name in capitals) and from options, then passed on."""

import re
from collections.abc import Callable
from datetime import timedelta
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from breadth import Limits
from recallql.http.hosts import is_loopback
from recallql.http.origins import read_origins
from recallql.http.requests import BODY_BYTES
from resolvers.tokens import count_tokens

MEBIBYTE = 1024 * 1024

LEAST_SECRET = 16
"""Characters of `api_key`, at least."""

_ADDRESS = "an address of a model is written as https://host/v1 or http://host:port/v1"

_path = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")


def counter_of(name: str) -> Callable[[str], int]:
    """The counter of tokens under this name, with a check of each count: a wrong one must not be kept."""
    count = resolve_name(name)

    def counted(text: str) -> int:
        tokens = count(text)
        if type(tokens) is not int or not 0 <= tokens < 2**31:
            raise ValueError(f"it gave {tokens!r} for a text; a counter gives a whole number, 0 or more")
        return tokens

    return counted


def _is_visible(text: str) -> bool:
    return text.isprintable() and " " not in text


class Settings(BaseSettings):
    """Every setting with its default. An option of the command line goes before the environment."""

    model_config = SettingsConfigDict(env_prefix="RECALLQL_", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="The address to listen on; without a key a loopback one.")
    port: int = Field(8000, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    database_url: str = Field(
        "sqlite:///recallql.db",
        description="Where the data is kept: `sqlite:///file`, or `sqlite:////folder/file` for an absolute path.",
    )
    synchronous: Literal["full", "normal"] = Field(
        "full",
        description="How durable a commit is: `full` survives a power cut, `normal` a crash of the process only.",
    )
    workers: int = Field(1, ge=1, le=64, description="How many processes serve; one is enough for most.")
    purge_after_days: float = Field(
        30,
        ge=0,
        le=36500,
        description="Days after which what was deleted softly is removed for good, and backups made by migrations too.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged, at least.")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="`json` writes a JSON object a line, `console` is for reading; `auto` goes by the terminal."
    )
    shutdown_timeout: int = Field(
        30, ge=1, le=3600, description="Seconds that requests in flight are given to finish when the server stops."
    )
    introspection: bool = Field(
        True, description="Whether the schema may be asked for; without, no names are suggested either."
    )
    playground: bool = Field(True, description="Whether browsers that open `/graphql` get the playground.")
    cors_origins: str = Field(
        "",
        description="Origins whose pages and apps may use the API, with commas between: "
        "`https://app.example.org, tauri://localhost`.",
    )
    root_path: str = Field(
        "", description="The path under which a proxy serves this server, as `/memory`; `/graphql` is served as well."
    )
    max_query_characters: int = Field(262_144, ge=1, description="Characters of a GraphQL document, at most.")
    max_query_tokens: int = Field(10_000, ge=1, description="Tokens of a document; comments apart, as many.")
    max_query_depth: int = Field(25, ge=1, le=200, description="How deeply a document nests fields, at most.")
    max_query_aliases: int = Field(500, ge=0, description="Aliases of a document, fragments spread out.")
    max_query_directives: int = Field(200, ge=0, description="Directives of a document, fragments spread out.")
    max_query_fields: int = Field(2_500, ge=1, description="Fields that a document selects, fragments spread out.")
    max_query_cost: int = Field(1_000_000, ge=1, description="Cost of an operation: mostly its answer's fields.")
    compression_level: int = Field(
        1, ge=0, le=9, description="How much answers are compressed, from 1 (fast) to 9 (small); 0: not at all."
    )
    plan_cache_bytes: int = Field(
        64 * MEBIBYTE,
        ge=MEBIBYTE,
        description="Bytes of the documents that are kept with their plans, in each process, about.",
    )
    request_timeout: float = Field(
        30, gt=0, le=3600, description="Seconds that a request may take; then it is answered with TIMEOUT."
    )
    slow_readers: int = Field(
        4,
        ge=2,
        le=64,
        description="Connections for reads that take long, in each process; one credential never has all of them.",
    )
    user_in_flight: int = Field(32, ge=0, description="Requests of one user at the same time, at most; 0: no limit.")
    user_per_minute: int = Field(1_200, ge=0, description="Requests of one user in a minute, at most; 0: no limit.")
    service_in_flight: int = Field(0, ge=0, description="Requests with one API key at the same time; 0: no limit.")
    service_per_minute: int = Field(0, ge=0, description="Requests with one API key in a minute; 0: no limit.")

    head_timeout: float = Field(
        10, gt=0, le=3600, description="Seconds that a client may take to send the head of a request."
    )
    body_timeout: float = Field(
        30, gt=0, le=3600, description="Seconds that a client may take to send the body of a request."
    )
    answer_timeout: float = Field(
        30, gt=0, le=3600, description="Seconds without progress in reading an answer until the connection is cut."
    )
    max_connections: int = Field(
        2_000, ge=8, description="Open connections, at most; over it those make room that are the most for one caller."
    )
    max_receiving_bytes: int = Field(
        64 * MEBIBYTE,
        ge=2 * BODY_BYTES,
        description="Bytes of requests that are being received, in a process; one credential gets half at most.",
    )
    max_unsent_bytes: int = Field(
        64 * MEBIBYTE,
        ge=MEBIBYTE,
        description="Bytes of answers that clients have not read, in a process; one credential gets half at most.",
    )
    max_answer_bytes: int = Field(
        16 * MEBIBYTE, ge=64 * 1024, description="Bytes of an answer, at most; a larger one is PAYLOAD_TOO_LARGE."
    )

    token_counter: str = Field(
        "", description="`package.module:function` that counts the tokens of a text; an estimate when empty."
    )
    embeddings: Literal["auto", "off", "local", "endpoint"] = Field(
        "auto",
        description="What search compares meanings with: `local` is the installed model, `endpoint` an "
        "OpenAI-compatible API, `off` nothing; `auto` takes the endpoint if there is one, else the model if installed.",
    )
    model_dir: str = Field("", description="The folder for local models; without, the user's data folder.")
    embeddings_base_url: str = Field("", description="The endpoint, as `https://api.example.com/v1`.")
    embeddings_api_key: str = Field("", repr=False, description="The key that the endpoint asks for, if it does.")
    embeddings_model: str = Field("", description="The endpoint's name of the model.")
    embeddings_dimensions: int = Field(
        0, ge=0, le=8192, description="The length of its vectors, for models that offer several; 0: the model's own."
    )

    api_key: str = Field("", repr=False, description="An API key for the project `default`; 16 characters or more.")
    jwks_url: str = Field(
        "", description="Where the application's identity provider publishes the keys that its tokens are signed with."
    )
    jwks_issuer: str = Field("", description="What its tokens have as `iss`.")
    jwks_audience: str = Field("", description="What its tokens have as `aud`, or among others there.")
    jwks_user_claim: str = Field("sub", min_length=1, description="The claim of its tokens that holds the userId.")
    jwks_project: str = Field("default", min_length=1, description="The project that its tokens open.")

    chat_base_url: str = Field(
        "",
        description="Where a chat model is asked, that forms memories: an address that speaks OpenAI's protocol, as "
        "`https://api.openai.com/v1`.",
    )
    chat_api_key: str = Field("", repr=False, description="The key for it.")
    chat_model: str = Field("", description="Which model.")
    chat_timeout: float = Field(60, gt=0, le=3600, description="Seconds that an answer of it may take.")
    chat_attempts: int = Field(8, ge=1, le=100, description="Attempts until a job has failed.")
    chat_in_flight: int = Field(4, ge=1, le=64, description="Questions to it at the same time, in each process.")
    chat_json: bool = Field(
        True, description="Whether it is told to answer in JSON (`response_format`); not every endpoint knows how."
    )

    @field_validator("api_key")
    @classmethod
    def _strong_enough(cls, key: str) -> str:
        if key and (len(key) < LEAST_SECRET or not key.isascii() or not _is_visible(key)):
            raise ValueError(
                f"a key has {LEAST_SECRET} or more characters, all of them visible ASCII ones; "
                "make one with `openssl rand -hex 32`"
            )
        return key

    @field_validator("token_counter")
    @classmethod
    def _counts(cls, name: str) -> str:
        if name:
            try:
                counter_of(name)("How many tokens are these?")
            except Exception as error:
                message = f"{name!r} cannot be used: {error}; name a function as package.module:function"
                raise ValueError(message) from error
        return name

    @field_validator("chat_api_key", "embeddings_api_key")
    @classmethod
    def _fits_a_header(cls, key: str) -> str:
        if not key.isascii() or not _is_visible(key):
            raise ValueError("a key has visible ASCII characters only; this one has others, perhaps a line break")
        return key

    @field_validator("chat_base_url", "embeddings_base_url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and _is_visible(url)
        except ValueError:
            # Not in its own words, which repeat a part of the address.
            raise ValueError(_ADDRESS) from None
        if "@" in parts.netloc:
            raise ValueError("an address of a model has no user and no password in it; set the key instead")
        if url and not right:
            raise ValueError(_ADDRESS)
        return url

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, text: str) -> str:
        read_origins(text)
        return text

    @field_validator("root_path")
    @classmethod
    def _is_path(cls, path: str) -> str:
        if path and _path.fullmatch(path) is None:
            raise ValueError("a path starts with a slash and does not end with one, as in /memory or /apps/memory")
        return path

    @field_validator("jwks_url")
    @classmethod
    def _safe_from_others(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and parts.scheme != "https" and (parts.scheme != "http" or not is_loopback(parts.hostname or "")):
            raise ValueError("keys are fetched by https:// (http:// from this machine only): who alters them gets in")
        return url

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.embeddings == "endpoint" and not self.embeddings_base_url:
            raise ValueError("embeddings by an endpoint need embeddings_base_url")
        if self.embeddings_base_url and not self.embeddings_model:
            raise ValueError("embeddings_base_url needs embeddings_model, the endpoint's name of the model")
        if self.jwks_url and not (self.jwks_issuer and self.jwks_audience):
            raise ValueError("jwks_url needs jwks_issuer and jwks_audience, or tokens made for others would be taken")
        if self.jwks_url and find_spec("cryptography") is None:
            raise ValueError("jwks_url needs another package: pip install 'recallql[jwks]'")
        if self.max_unsent_bytes < 2 * self.max_answer_bytes:
            raise ValueError("max_unsent_bytes must have room for two answers of max_answer_bytes")
        if self.chat_base_url and not self.chat_model:
            raise ValueError("chat_base_url needs chat_model: which model is to be asked there")
        if self.chat_base_url and find_spec("httpx") is None:
            raise ValueError("chat_base_url needs another package: pip install 'recallql[model]'")
        return self

    @property
    def count_tokens(self) -> Callable[[str], int]:
        """Tells what counts the tokens of messages and contexts."""
        return counter_of(self.token_counter) if self.token_counter else count_tokens

    @property
    def limits(self) -> Limits:
        """The limits on documents."""
        return Limits(
            characters=self.max_query_characters,
            tokens=self.max_query_tokens,
            depth=self.max_query_depth,
            aliases=self.max_query_aliases,
            directives=self.max_query_directives,
            fields=self.max_query_fields,
            cost=self.max_query_cost,
            setting=lambda name: f"RECALLQL_MAX_QUERY_{name.upper()}",
        )

    @property
    def origins(self) -> frozenset[str]:
        """The origins whose pages may use the API."""
        return read_origins(self.cors_origins)

    @property
    def purge_after(self) -> timedelta:
        return timedelta(days=self.purge_after_days)
