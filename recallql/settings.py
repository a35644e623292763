"""Settings: read once from the environment (`RECALLQL_` + name in capitals) and from options, then passed on."""

from datetime import timedelta
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from breadth import Limits


class Settings(BaseSettings):
    """Every setting with its default. An option of the command line goes before the environment."""

    model_config = SettingsConfigDict(env_prefix="RECALLQL_", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="The address to listen on. In this version a loopback one.")
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
    max_query_characters: int = Field(262_144, ge=1, description="Characters of a GraphQL document, at most.")
    max_query_tokens: int = Field(10_000, ge=1, description="Tokens of a document; comments apart, as many.")
    max_query_depth: int = Field(25, ge=1, le=200, description="How deeply a document nests fields, at most.")
    max_query_aliases: int = Field(500, ge=0, description="Aliases of a document, fragments spread out.")
    max_query_directives: int = Field(200, ge=0, description="Directives of a document, fragments spread out.")
    max_query_fields: int = Field(2_500, ge=1, description="Fields that a document selects, fragments spread out.")
    max_query_cost: int = Field(1_000_000, ge=1, description="Cost of an operation: mostly its answer's fields.")

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
    def purge_after(self) -> timedelta:
        return timedelta(days=self.purge_after_days)
