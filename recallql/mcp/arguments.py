"""The arguments of the tools, and the JSON Schema that clients are told."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from pydantic_core.core_schema import NullableSchema, WithDefaultSchema

from models.values import JsonValue
from recallql.mcp.faults import Fault
from resolvers.connections import DEFAULT_PAGE, LARGEST_PAGE
from resolvers.messages import LARGEST_BATCH

RESULTS = 10
"""The results of `recall` when no limit is given."""

MOST_FAULTS = 10
"""The most faults of arguments that are named."""

Role = Literal["USER", "ASSISTANT", "SYSTEM", "DEVELOPER", "TOOL", "FUNCTION"]
Kind = Literal["FACT", "PREFERENCE", "EVENT", "SUMMARY"]


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


AnyCase = BeforeValidator(_upper)

UserId = Annotated[
    str | None,
    Field(
        description="The application's own id of the user. Leave it out if you are connected with the user's own "
        "token: then it is that user."
    ),
]


class Arguments(BaseModel):
    """The arguments of a tool; one that it does not have is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GivenMessage(Arguments):
    """A message to store."""

    role: Annotated[Role, AnyCase, Field(description="Who said it, in any case.")]
    content: Annotated[str, Field(description="What was said.")]
    name: Annotated[str | None, Field(description="The name of the speaker, where several people speak.")] = None


class AddMessages(Arguments):
    session_id: Annotated[
        str, Field(description="The application's own id of the conversation; an unknown one starts a conversation.")
    ]
    messages: Annotated[
        list[GivenMessage], Field(min_length=1, max_length=LARGEST_BATCH, description="The messages, in order.")
    ]
    user_id: UserId = None


class Remember(Arguments):
    content: Annotated[
        str, Field(description="One statement that can be understood alone, such as `Prefers tea to coffee`.")
    ]
    user_id: UserId = None
    kind: Annotated[
        Kind,
        AnyCase,
        Field(
            description="FACT: something that is so; PREFERENCE: what the user prefers; EVENT: what happened or will; "
            "SUMMARY: replaces the user's standing summary. In any case."
        ),
    ] = "FACT"


class Recall(Arguments):
    query: Annotated[str, Field(description="A question or a few words, as a person writes them.")]
    user_id: UserId = None
    session_id: Annotated[str | None, Field(description="Searches this conversation only.")] = None
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE, description="The most results.")] = RESULTS


class PackContext(Arguments):
    query: Annotated[
        str | None, Field(description="The question to answer; what the user said last when left out.")
    ] = None
    session_id: Annotated[
        str | None, Field(description="The conversation that goes on. Without it the context is about the user.")
    ] = None
    user_id: UserId = None
    max_tokens: Annotated[
        int | None, Field(ge=1, le=2**31 - 1, description="The budget of tokens; 4,000 when left out.")
    ] = None


class ListSessions(Arguments):
    user_id: UserId = None
    first: Annotated[int, Field(ge=1, le=LARGEST_PAGE, description="The most conversations to list.")] = DEFAULT_PAGE
    after: Annotated[
        str | None, Field(description="`next` of the page before; the newest conversations when left out.")
    ] = None


class ReadSession(Arguments):
    session_id: Annotated[
        str, Field(description="The id of the conversation, as `list_sessions` and `recall` give it.")
    ]
    last: Annotated[
        int, Field(ge=1, le=LARGEST_PAGE, description="The most messages to read, counted from the newest.")
    ] = DEFAULT_PAGE
    before: Annotated[str | None, Field(description="`earlier` of the page before, to read older messages.")] = None


class Forget(Arguments):
    memory_id: Annotated[str, Field(description="The `id` of the memory, as `recall` and `remember` give it.")]


def checked(model: type[Arguments], given: dict[str, Any]) -> Any:
    """The arguments as the tool takes them; raises `Fault` that names each wrong one."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        known = f"The arguments are {', '.join(model.model_fields)}."
        if (count := error.error_count()) > MOST_FAULTS:
            raise Fault("INVALID", f"There are {count} faults. {known}") from error
        problems = [f"`{'.'.join(map(str, each['loc']))}`: {each['msg']}" for each in error.errors()]
        raise Fault("INVALID", f"{'; '.join(problems)}. {known}") from error


class PlainSchema(GenerateJsonSchema):
    """JSON Schema as all clients understand it: no titles, no null for what may be left out, nothing by reference."""

    def nullable_schema(self, schema: NullableSchema) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: WithDefaultSchema) -> dict[str, Any]:
        told = super().default_schema(schema)
        if told.get("default", "") is None:
            del told["default"]
        return told

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def generate(self, schema: Any, mode: JsonSchemaMode = "validation") -> dict[str, Any]:
        told = super().generate(schema, mode)
        return _inlined(told, told.pop("$defs", {}))


def _inlined(told: JsonValue, definitions: Mapping[str, JsonValue]) -> Any:
    """A schema without its titles, in which each reference is replaced by what it refers to."""
    if isinstance(told, list):
        return [_inlined(item, definitions) for item in told]
    if not isinstance(told, dict):
        return told
    given = dict(told)
    reference = given.pop("$ref", None)
    if isinstance(reference, str):
        referred = definitions[reference.rpartition("/")[2]]
        given = (referred if isinstance(referred, dict) else {}) | given
    # A property that is called `title` has an object here.
    return {
        name: _inlined(value, definitions)
        for name, value in given.items()
        if name != "title" or isinstance(value, dict)
    }


def schema_of(type: Any) -> dict[str, Any]:
    """The JSON Schema of arguments or of a result."""
    return TypeAdapter(type).json_schema(schema_generator=PlainSchema)
