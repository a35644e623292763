"""Writes the tables of docs/ that come from the code: `make reference`.

A table stands between two comments: `<!-- settings: host, port -->` names the settings of its rows; `<!-- limits -->`,
`<!-- costs -->` and `<!-- commands -->` name nothing; `<!-- end -->` closes each. All other text is written by hand.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from typer.core import TyperGroup

from recallql.commands.cli import app
from recallql.settings import Settings

PAGES = sorted(Path(__file__).parent.glob("*.md"))

# A number of the code is named by its dotted path; `:bytes` writes it in KiB or MiB.
LIMITS = [
    ("A key (`userId`, `sessionId`, `messageId` …)", "1 to {resolvers.inputs.KEY_CHARACTERS} characters"),
    ("Content of a message, document or memory", "{resolvers.inputs.CONTENT_BYTES:bytes}"),
    (
        "Any other text (`about`, `situation`, `instructions`, names, titles …)",
        "{resolvers.inputs.TEXT_BYTES:bytes}",
    ),
    (
        "`metadata`, `parts`, `toolCalls`, each",
        "{resolvers.json_values.JSON_BYTES:bytes} and {resolvers.json_values.LEVELS} levels",
    ),
    ("Messages in `addMessages`", "1 to {resolvers.messages.LARGEST_BATCH}"),
    ("Documents created with a user or an agent", "{resolvers.inputs.DOCUMENTS_AT_ONCE}"),
    (
        "`sources` and `sourceMessages` of a memory together, and `supersedes`",
        "{resolvers.memory_sources.LARGEST_LIST}",
    ),
    (
        "A page (`first`, `last`)",
        "0 to {resolvers.connections.LARGEST_PAGE} items; {resolvers.connections.DEFAULT_PAGE} when left out",
    ),
    ("A list in a filter", "{resolvers.filters.LARGEST_LIST}"),
    (
        "Characters of a name, an address or a title that an order by it goes by",
        "the first {models.sort_texts.SORTED_CHARACTERS}",
    ),
    (
        "`text` of a `UserFilter`",
        "{resolvers.filters.TEXT_CHARACTERS} characters and {resolvers.filters.LARGEST_TEXT} words",
    ),
    (
        "Words that a user is found by",
        "the first {models.user_words.LARGEST_WORDS}, each by its first {models.user_words.WORD_CHARACTERS} characters",
    ),
    (
        "Scalars in metadata that an object is found by on SQLite; one with more is compared for every filter",
        "{models.leaves.LARGEST_LEAVES}",
    ),
    ("`ids` of `nodes`", "{resolvers.nodes.LARGEST_LIST}"),
    ("Different words of a query that `search` looks for", "{resolvers.search.questions.LARGEST_QUESTION}"),
    (
        "Characters of a query whose meaning is compared",
        "the first {recallql.embedding.embeddings.ASKED_CHARACTERS}",
    ),
    (
        "`maxTokens` of a context, when left out",
        "the session's `tokenBudget`, or {resolvers.contexts.contexts.DEFAULT_BUDGET}",
    ),
    ("Messages of a context", "{resolvers.contexts.windows.LARGEST_WINDOW}"),
    (
        "Messages copied by `cloneSession`",
        "{resolvers.clones.LARGEST_CLONE}, with {resolvers.clones.CLONE_CHARACTERS} characters of text",
    ),
    ("Messages removed by one `deleteMessages`", "{resolvers.deletions.LARGEST_DELETION}"),
    (
        "Memories or documents removed by one `deleteMemories`, `deleteDocuments`",
        "{resolvers.deletions.LARGEST_DELETION}",
    ),
    (
        "Characters of memories or documents removed by one `deleteMemories`, `deleteDocuments`",
        "{resolvers.deletions.DELETED_CHARACTERS}, but at least one object",
    ),
    (
        "Sessions removed by one `deleteInactiveSessions`",
        "1 to {resolvers.deletions.LARGEST_DELETION}; {resolvers.sessions.DEFAULT_DELETION} when left out",
    ),
    ("Errors named in an answer", "the first {breadth.limits.Limits.errors}"),
    ("Body of a request, after decompression", "{recallql.settings.BODY_BYTES:bytes}"),
    ("Message of a client over a WebSocket", "{recallql.live.websocket.MESSAGE_BYTES:bytes}"),
    ("Requests of the subscriptions that are open on a WebSocket, together", "{recallql.live.socket.OPEN_BYTES:bytes}"),
    ("`id` of an operation over a WebSocket", "1 to {recallql.live.messages.LONGEST_ID} characters"),
    ("Head of a request", "{recallql.http.framing.HEAD_BYTES:bytes}"),
    ("URL of a request", "{recallql.http.heads.URL_BYTES:bytes}"),
    ("The `Authorization` header", "{recallql.auth.credentials.HEADER_BYTES:bytes}"),
    ("Values in the JSON of a request", "{recallql.http.requests.LARGEST_JSON}"),
    ("Values in the JSON of a filter", "{resolvers.filters.LARGEST_FILTER}"),
    ("Line of an import", "{recallql.commands.lines.LARGEST_LINE:bytes}"),
    (
        "Value of another system's file, such as a conversation",
        "{recallql.importing.reading.LARGEST_VALUE} characters",
    ),
    (
        "Life of a user token",
        "1 to {resolvers.credentials.LARGEST_LIFE} seconds; {resolvers.credentials.DEFAULT_LIFE} when left out",
    ),
    ("Answer of an identity provider", "{recallql.auth.identity.JWKS_BYTES:bytes}"),
    ("Answer of an embeddings endpoint", "{recallql.openai.ANSWER_BYTES:bytes}"),
    ("Answer of a chat model", "{recallql.background.forming.ANSWER_BYTES:bytes}"),
    ("Messages sent to a chat model together", "{resolvers.formation.jobs.MESSAGES_AT_ONCE}"),
    ("Answer that an MCP tool makes its result of", "{recallql.mcp.callers.ANSWER_BYTES:bytes}"),
    ("Characters of one item in the text of an MCP tool's result", "{recallql.mcp.texts.ITEM_CHARACTERS}"),
    ("Characters of all items in the text of an MCP tool's result", "{recallql.mcp.texts.ALL_CHARACTERS}"),
    ("`RECALLQL_CHAT_INSTRUCTIONS`", "{recallql.settings.INSTRUCTIONS_BYTES:bytes}"),
    ("Characters of a message that a chat model is sent", "the first {resolvers.formation.asking.MESSAGE_CHARACTERS}"),
]

COSTS = [
    ("A field", "1 for each object that may have it"),
    ("A page of a list", "and {schema.connections.PAGE_SIZE.lookup} to look it up"),
    ("A page of `search`", "and {schema.search.SEARCH_SIZE.lookup} to look it up"),
    ("A `context`", "and {schema.contexts.CONTEXT_SIZE.lookup} to build it"),
    ("Objects on a page", "`first` or `last`; {schema.connections.PAGE_SIZE.default} when both are left out"),
    ("Objects in a list of a context", "`lastMessages`; {schema.contexts.CONTEXT_SIZE.default} when it is left out"),
    ("Objects of `nodes`, messages of `addMessages`", "as many as are sent"),
    ("Objects in any other list", "{breadth.measures.LIST}"),
    (
        "A document that asks for the schema (`__schema`, `__type`) and for data",
        "at most {breadth.execution.WITH_SCHEMA}; send two documents instead",
    ),
]

Rows = list[tuple[str, ...]]


def filled(text: str) -> str:
    """The text with the numbers that it names."""

    def number(match: re.Match[str]) -> str:
        value: int = resolve_name(match[1])
        if not match[2]:
            return f"{value:,}"
        return f"{value >> 20:,} MiB" if value % (1 << 20) == 0 else f"{value >> 10:,} KiB"

    return re.sub(r"\{([\w.]+)(:bytes)?\}", number, text)


def limits() -> Rows:
    return [("What", "Limit"), *((what, filled(limit)) for what, limit in LIMITS)]


def costs() -> Rows:
    return [("What", "Cost or count"), *((what, filled(cost)) for what, cost in COSTS)]


def settings(*names: str) -> Rows:
    options = {option for parameter in command().commands["serve"].params for option in parameter.opts}
    rows: Rows = [("Variable", "Option of `serve`", "Default", "Values", "Meaning")]
    for name in names:
        field, option = Settings.model_fields[name], f"--{name.replace('_', '-')}"
        default = "" if field.default == "" else f"`{field.default}`"
        shown = f"`{option}`" if option in options else ""
        rows.append((f"`RECALLQL_{name.upper()}`", shown, default, values_of(field), field.description or ""))
    return rows


def values_of(field: FieldInfo) -> str:
    """The values that a setting takes, unless its default says it."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    bounds = {
        name: getattr(each, name) for each in field.metadata for name in ("ge", "gt", "le") if hasattr(each, name)
    }
    match bounds:
        case {"ge": least, "le": most}:
            return f"{least:,} to {most:,}"
        case {"gt": least, "le": most}:
            return f"over {least:,}, up to {most:,}"
        case {"ge": least}:
            return f"{least:,} or more"
        case _:
            return "`True`, `False`" if field.annotation is bool else ""


def commands() -> Rows:
    return [("Command", "What it does"), *commands_of(command(), "recallql")]


def commands_of(group: TyperGroup, path: str) -> Iterator[tuple[str, str]]:
    for name, each in group.commands.items():
        if not isinstance(each, TyperGroup) or each.invoke_without_command:
            yield f"`{path} {name}`", each.help or ""
        if isinstance(each, TyperGroup):
            yield from commands_of(each, f"{path} {name}")


def command() -> TyperGroup:
    return typer.main.get_group(app)


TABLES = {"settings": settings, "limits": limits, "costs": costs, "commands": commands}
MARKED = re.compile(r"(<!-- (settings|limits|costs|commands)(?:: (.*?))? -->\n).*?(?=<!-- end -->)", re.DOTALL)


def rewritten(text: str) -> str:
    """The text of a page with its tables as the code has them."""

    def table(match: re.Match[str]) -> str:
        header, *rows = TABLES[match[2]](*re.findall(r"\w+", match[3] or ""))
        lines: list[tuple[str, ...]] = [header, ("---",) * len(header), *rows]
        return match[1] + "\n" + "".join(f"| {' | '.join(row)} |\n" for row in lines) + "\n"

    return MARKED.sub(table, text)


def named_settings(text: str) -> list[str]:
    """The settings whose rows a page has, in its order."""
    rows = [names for _, kind, names in MARKED.findall(text) if kind == "settings"]
    return re.findall(r"\w+", " ".join(rows))


def main() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (new := rewritten(text)) != text:
            page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
