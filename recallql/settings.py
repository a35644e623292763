"""Settings: read once from the environment (`RECALLQL_` + name in capitals) and from options, then passed on."""

import re
from collections.abc import Callable
from datetime import timedelta
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from recallql.http.hosts import is_loopback
from recallql.http.origins import read_origin, read_origins
from resolvers.grants import PERMISSIONS, Granted
from resolvers.inputs import text_rule
from resolvers.tokens import count_tokens

if TYPE_CHECKING:
    from breadth import Limits

MEBIBYTE = 1024 * 1024

BODY_BYTES = 8 * MEBIBYTE
"""The largest body of a request, in bytes."""

LEAST_SECRET = 16
"""The least number of characters of `api_key`."""

INSTRUCTIONS_BYTES = 16 * 1024
"""The most bytes of `chat_instructions`: they are sent with every request, and small models read few tokens."""

_ADDRESS = "write the address of a model as https://host/v1 or http://host:port/v1"

_PUBLIC_URL = "write the address as https://memory.example.org or https://example.org/memory"

_path = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")


def counter_of(name: str) -> Callable[[str], int]:
    """The token counter with this name, with a check of each count: a wrong one must not be stored."""
    count = resolve_name(name)

    def counted(text: str) -> int:
        tokens = count(text)
        if type(tokens) is not int or not 0 <= tokens < 2**31:
            raise ValueError(f"it returned {tokens!r} for a text; a counter returns a whole number, 0 or more")
        return tokens

    return counted


def read_permissions(text: str) -> Granted:
    """The permissions in a comma-separated text."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name.upper() not in PERMISSIONS:
            raise ValueError(f"{name!r} is not a permission; give any of read, write and manage, comma-separated")
    return frozenset(name.upper() for name in names)


def _is_visible(text: str) -> bool:
    return text.isprintable() and " " not in text


class Settings(BaseSettings):
    """Every setting with its default. An option of the command line goes before the environment."""

    model_config = SettingsConfigDict(env_prefix="RECALLQL_", frozen=True, extra="forbid")

    host: str = Field(
        default="127.0.0.1", description="The address to listen on; it must be a loopback address until a key exists."
    )
    port: int = Field(default=8000, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    database_url: str = Field(
        default="sqlite:///recallql.db",
        repr=False,
        description="The database: `sqlite:///file` (`sqlite:////folder/file` for an absolute path), or "
        "`postgresql://user@host/database`.",
    )
    database_connections: int = Field(
        default=16,
        ge=2,
        le=1000,
        description="Connections of each process to PostgreSQL: half for reads, half for writes.",
    )
    read_database_url: str = Field(
        default="",
        repr=False,
        description="A streaming replica of the PostgreSQL database, for queries; they may then lag up to "
        "five seconds behind.",
    )
    direct_database_url: str = Field(
        default="",
        repr=False,
        description="The same PostgreSQL database past a pooler such as PgBouncer, for `recallql migrate` and LISTEN.",
    )
    synchronous: Literal["full", "normal"] = Field(
        default="full",
        description="Durability of a commit: `full` survives a power cut, `normal` only a crash of the process.",
    )
    workers: int = Field(
        default=1, ge=1, le=64, description="The number of processes that serve; one is enough for most."
    )
    purge_after_days: float = Field(
        default=30,
        ge=0,
        le=36500,
        description="Days until soft-deleted rows and the backups of migrations are removed for good.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe level that is logged."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`json` writes one object per line; `auto` is `console` on a terminal, else `json`."
    )
    shutdown_timeout: int = Field(
        default=30, ge=1, le=3600, description="Seconds that requests in flight have to finish when the server stops."
    )
    introspection: bool = Field(
        default=True, description="Answers introspection queries, and suggests names of the schema in errors."
    )
    playground: bool = Field(default=True, description="Serves the playground to browsers that open `/graphql`.")
    cors_origins: str = Field(
        default="",
        description="Origins whose pages and apps may use the API, comma-separated: "
        "`https://app.example.org, tauri://localhost`.",
    )
    root_path: str = Field(
        default="",
        description="The path below which a proxy serves this server, such as `/memory`; `/graphql` works as well.",
    )
    public_url: str = Field(
        default="",
        description="The address that clients have for this server, such as `https://memory.example.org`: what MCP "
        "clients are told when they ask where tokens come from; by default the `Host` that they name.",
    )
    max_query_characters: int = Field(default=262_144, ge=1, description="Characters of a GraphQL document.")
    max_query_tokens: int = Field(
        default=10_000, ge=1, description="Tokens of a document; as many comments may be added."
    )
    max_query_depth: int = Field(default=25, ge=1, le=200, description="Levels of nested fields.")
    max_query_aliases: int = Field(default=500, ge=0, description="Aliases; fragments count wherever they are spread.")
    max_query_directives: int = Field(default=200, ge=0, description="Directives; fragments count likewise.")
    max_query_fields: int = Field(
        default=2_500, ge=1, description="Fields that are selected; fragments count likewise."
    )
    max_query_cost: int = Field(
        default=1_000_000, ge=1, description="Cost of an operation: about the number of fields in its answer."
    )
    compression_level: int = Field(
        default=1, ge=0, le=9, description="gzip level of answers, from 1 (fast) to 9 (small); 0 turns compression off."
    )
    plan_cache_bytes: int = Field(
        default=64 * MEBIBYTE,
        ge=MEBIBYTE,
        description="Memory for documents and their plans in each process, in bytes; an estimate.",
    )
    request_timeout: float = Field(
        default=30, gt=0, le=3600, description="Seconds that a request may take before it fails with `TIMEOUT`."
    )
    slow_readers: int = Field(
        default=4,
        ge=2,
        le=64,
        description="Database connections for slow reads in each process; no credential gets all of them.",
    )
    user_in_flight: int = Field(
        default=32, ge=0, description="Concurrent requests of one user, in each process; 0 means no limit."
    )
    user_per_minute: int = Field(
        default=1_200, ge=0, description="Requests of one user in a minute, in each process; 0 means no limit."
    )
    service_in_flight: int = Field(
        default=0, ge=0, description="Concurrent requests with one API key, in each process; 0 means no limit."
    )
    service_per_minute: int = Field(
        default=0, ge=0, description="Requests with one API key in a minute, in each process; 0 means no limit."
    )

    head_timeout: float = Field(
        default=10, gt=0, le=3600, description="Seconds that a client has to send the head of a request."
    )
    body_timeout: float = Field(
        default=30, gt=0, le=3600, description="Seconds that a client has to send the body of a request."
    )
    answer_timeout: float = Field(
        default=30,
        gt=0,
        le=3600,
        description="Seconds without progress in reading an answer before the connection is cut.",
    )
    init_timeout: float = Field(
        default=10, gt=0, le=3600, description="Seconds that a WebSocket has for its `connection_init`."
    )
    keep_alive: float = Field(
        default=30,
        gt=0,
        le=3600,
        description="Seconds between two signs of life on a WebSocket or a stream of events, which proxies may need.",
    )
    socket_operations: int = Field(
        default=100, ge=1, le=10_000, description="Operations that are open at the same time on one WebSocket."
    )
    user_subscribers: int = Field(
        default=64,
        ge=0,
        description="WebSockets and streams of events of one user, in each process; 0 means no limit.",
    )
    service_subscribers: int = Field(
        default=0,
        ge=0,
        description="WebSockets and streams of events with one API key, in each process; 0 means no limit.",
    )
    max_connections: int = Field(
        default=2_000,
        ge=8,
        description="Open connections of a process; above it, the caller with the most loses the oldest ones.",
    )
    max_receiving_bytes: int = Field(
        default=64 * MEBIBYTE,
        ge=2 * BODY_BYTES,
        description="Bytes of unfinished requests in a process; one credential gets at most half.",
    )
    max_unsent_bytes: int = Field(
        default=64 * MEBIBYTE,
        ge=MEBIBYTE,
        description="Bytes of unread answers in a process; one credential gets at most half.",
    )
    max_answer_bytes: int = Field(
        default=16 * MEBIBYTE,
        ge=64 * 1024,
        description="Bytes of an answer, and half of the bytes of rows read for it; over it, `PAYLOAD_TOO_LARGE`.",
    )

    token_counter: str = Field(
        default="", description="`package.module:function` that counts the tokens of a text, instead of the estimate."
    )
    embeddings: Literal["auto", "off", "static", "local", "endpoint"] = Field(
        default="auto",
        description="The model for search by meaning: `static` compares single words, `local` words in their context, "
        "`endpoint` is an OpenAI-compatible API; `auto` takes the endpoint if one is set, else what is installed: the "
        "local model, or the static vectors.",
    )
    model_dir: str = Field(
        default="", description="The folder of the installed models; by default the user's data folder."
    )
    embeddings_base_url: str = Field(
        default="", description="The address of the endpoint, such as `https://api.example.com/v1`."
    )
    embeddings_api_key: str = Field(default="", repr=False, description="The key for the endpoint, if it needs one.")
    embeddings_model: str = Field(default="", description="The model, as the endpoint names it.")
    embeddings_dimensions: int = Field(
        default=0,
        ge=0,
        le=8192,
        description="The length of its vectors, for models that offer several; 0 is the model's default.",
    )

    api_key: str = Field(
        default="", repr=False, description="An API key for the project `default`; 16 characters or more."
    )
    jwks_url: str = Field(
        default="",
        description="The URL of your identity provider's signing keys: `https://`, or `http://` on this machine.",
    )
    jwks_issuer: str = Field(default="", description="The `iss` of its tokens.")
    jwks_audience: str = Field(default="", description="The `aud` of its tokens, or one of several there.")
    jwks_user_claim: str = Field(
        default="sub", min_length=1, description="The claim of its tokens that holds the `userId`."
    )
    jwks_project: str = Field(default="default", min_length=1, description="The project that its tokens open.")
    jwks_permissions: str = Field(
        default="read, write",
        description="The permissions of its tokens without scopes of RecallQL: any of `read`, `write` and `manage`, "
        "comma-separated; empty for none.",
    )

    form_memories: bool = Field(
        default=True,
        description="Forms memories of messages unless the message, its batch, session or user says otherwise.",
    )
    chat_base_url: str = Field(
        default="",
        description="An OpenAI-compatible API with a chat model that forms memories, such as `https://api.openai.com/v1`.",
    )
    chat_api_key: str = Field(default="", repr=False, description="The key for it, if it needs one.")
    chat_model: str = Field(default="", description="The chat model, as the API names it.")
    chat_timeout: float = Field(default=60, gt=0, le=3600, description="Seconds that the chat model has to answer.")
    chat_attempts: int = Field(default=8, ge=1, le=100, description="Attempts before a job is given up as failed.")
    chat_in_flight: int = Field(
        default=4, ge=1, le=64, description="Concurrent requests to the chat model, in each process."
    )
    chat_json: bool = Field(
        default=True,
        description="Asks for an answer in JSON (`response_format`); turn it off where the API does not support it.",
    )

    chat_instructions: str = Field(
        default="",
        description="Instructions for the chat model on what to remember, how to rate it and how to summarise; "
        f"up to {INSTRUCTIONS_BYTES // 1024} KiB.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options and the environment; no files."""
        return init_settings, env_settings

    @field_validator("chat_instructions")
    @classmethod
    def _can_be_sent(cls, instructions: str) -> str:
        if found := text_rule(INSTRUCTIONS_BYTES)(instructions):
            raise ValueError(found[1])
        return instructions

    @field_validator("api_key")
    @classmethod
    def _strong_enough(cls, key: str) -> str:
        if key and (len(key) < LEAST_SECRET or not key.isascii() or not _is_visible(key)):
            raise ValueError(
                f"a key has {LEAST_SECRET} or more characters, all of them visible ASCII; "
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
            raise ValueError("a key has visible ASCII characters only; this one has others, such as a line break")
        return key

    @field_validator("chat_base_url", "embeddings_base_url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and _is_visible(url)
        except ValueError:
            # The original message repeats a part of the address, which may hold a password.
            raise ValueError(_ADDRESS) from None
        if "@" in parts.netloc:
            raise ValueError("the address of a model must not contain a user or a password; set the key instead")
        if url and not right:
            raise ValueError(_ADDRESS)
        return url

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, text: str) -> str:
        read_origins(text)
        return text

    @field_validator("jwks_permissions")
    @classmethod
    def _are_permissions(cls, text: str) -> str:
        read_permissions(text)
        return text

    @field_validator("root_path")
    @classmethod
    def _is_path(cls, path: str) -> str:
        if path and _path.fullmatch(path) is None:
            raise ValueError("a path starts with a slash and does not end with one, as in /memory or /apps/memory")
        return path

    @field_validator("public_url")
    @classmethod
    def _is_public_url(cls, url: str) -> str:
        parts = urlsplit(url)
        try:
            origin = read_origin(f"{parts.scheme}://{parts.netloc}") if url else ""
        except ValueError:
            raise ValueError(_PUBLIC_URL) from None
        plain = parts.scheme in ("http", "https") and not parts.query and not parts.fragment
        path = parts.path.rstrip("/")
        if url and not (plain and (not path or _path.fullmatch(path))):
            raise ValueError(_PUBLIC_URL)
        return origin + path

    @field_validator("jwks_url")
    @classmethod
    def _safe_from_others(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and parts.scheme != "https" and (parts.scheme != "http" or not is_loopback(parts.hostname or "")):
            raise ValueError("use https:// (http:// from this machine only): anybody who alters the keys gets in")
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
        if (self.read_database_url or self.direct_database_url) and self.database_url.startswith("sqlite"):
            raise ValueError(
                "read_database_url and direct_database_url are for PostgreSQL; set database_url to it, too"
            )
        if self.max_unsent_bytes < 2 * self.max_answer_bytes:
            raise ValueError("max_unsent_bytes must have room for two answers of max_answer_bytes")
        if self.chat_base_url and not self.chat_model:
            raise ValueError("chat_base_url needs chat_model, the name of the model to use there")
        if self.chat_base_url and find_spec("httpx") is None:
            raise ValueError("chat_base_url needs another package: pip install 'recallql[model]'")
        return self

    @property
    def count_tokens(self) -> Callable[[str], int]:
        """The counter of the tokens of messages and contexts."""
        return counter_of(self.token_counter) if self.token_counter else count_tokens

    @property
    def limits(self) -> "Limits":
        """The limits on documents."""
        # The executor takes long to import, and only the server needs it.
        from breadth import Limits

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
    def provided_permissions(self) -> Granted:
        """The permissions of tokens of the identity provider that have no scopes of RecallQL."""
        return read_permissions(self.jwks_permissions)

    @property
    def purge_after(self) -> timedelta:
        return timedelta(days=self.purge_after_days)
