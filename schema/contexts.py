"""The GraphQL types of contexts."""

from enum import Enum
from typing import Annotated, Any

import strawberry

from breadth import PageSize, batch_field, computed_field
from resolvers.contexts.chats import chat_of
from resolvers.contexts.contexts import contexts_of_sessions, contexts_of_users
from resolvers.contexts.windows import LARGEST_WINDOW
from schema.connections import parameter
from schema.documents import Document, DocumentFilter
from schema.inputs import required
from schema.memories import Memory
from schema.memory_filters import MemoryFilter
from schema.messages import Message
from schema.scalars import JSON


@strawberry.enum(description="The treatment of a context that exceeds its budget.")
class ContextOverflow(Enum):
    ERROR = strawberry.enum_value("ERROR", description="Refuse: the context is null, with an error CONTEXT_OVERFLOW.")
    TRUNCATE = strawberry.enum_value("TRUNCATE", description="Leave out the oldest messages.")
    ADAPTIVE = strawberry.enum_value(
        "ADAPTIVE", description="Replace what does not fit by the summary and by what matches best."
    )


@strawberry.type(description="The content of a prompt: a text for the system part, and messages.")
class Context:
    text: str = required(
        "For the system prompt: the situation, what agent and user are about, the summary, what is known, passages of "
        "documents, and what was said before and answers the query. Markdown, each part under a heading; the same for "
        "the same data."
    )
    token_count: int = required(
        "Tokens of the text and the messages, with their frames, roles and names; never more than `maxTokens`."
    )
    max_tokens: int = required("The budget that was kept to.")
    messages: list[Message] = required(
        "The session's newest messages and, with ADAPTIVE, older ones that match; oldest first. None in a user's."
    )
    memories: list[Memory] = required("The memories in the text, those that match best first.")
    documents: list[Document] = required("The documents of which the text has a passage, those that match best first.")
    recalled: list[Message] = required("The messages that the text quotes, oldest first: what was said before.")
    summary: Memory | None = required("The summary in the text: the session's, else the user's.")
    chat: JSON = computed_field(
        chat_of,
        description="The text and the messages as a list of chat messages in OpenAI's form, ready to send to a model: "
        "the text first, as the system message; tool calls, their results and parts as they were stored. A name has "
        "`_` for the characters that OpenAI refuses.",
        needs=("text", "messages"),
    )
    dropped_messages: int = required("The number of requested messages that are not in `messages`.")


QUERY = Annotated[
    str | None,
    strawberry.argument(description="The question to answer; the newest turn of the user when left out. Not empty."),
]
MAX_TOKENS = Annotated[
    int | None,
    strawberry.argument(description="The token budget, 1 or more; the session's `tokenBudget` or 4,000 when left out."),
]
OWN_QUERY = Annotated[
    str | None,
    strawberry.argument(
        description="The question to answer; the user's newest turn in the latest session when left out. Not empty."
    ),
]
OWN_TOKENS = Annotated[int | None, strawberry.argument(description="The token budget, 1 or more; 4,000 when left out.")]
OVERFLOW = Annotated[
    ContextOverflow | None,
    strawberry.argument(
        description="The treatment of what does not fit; the session's choice or ADAPTIVE when left out."
    ),
]
LAST_MESSAGES = Annotated[
    int | None,
    strawberry.argument(
        description="The most messages to consider, counted from the newest, 1 or more; all when left out."
    ),
]

MEMORIES = Annotated[
    MemoryFilter | None,
    strawberry.argument(
        description="The memories that may be in the text, as in a list of them; those that hold now when left out. "
        "The summary is not affected."
    ),
]
DOCUMENTS = Annotated[
    DocumentFilter | None,
    strawberry.argument(description="The documents that may be quoted; all of them when left out."),
]

CONTEXT_SIZE = PageSize(("lastMessages",), default=50, largest=LARGEST_WINDOW, lookup=8_000)


def context_of_session() -> Any:
    """The field `context` of a session."""
    return batch_field(
        contexts_of_sessions,
        description="The content of a prompt: the newest messages and what matches, within a token budget. "
        "Null for a deleted session.",
        parameters=[
            parameter("query", QUERY),
            parameter("max_tokens", MAX_TOKENS),
            parameter("overflow", OVERFLOW),
            parameter("last_messages", LAST_MESSAGES),
            parameter("memories", MEMORIES),
            parameter("documents", DOCUMENTS),
        ],
        page_size=CONTEXT_SIZE,
    )


def context_of_user() -> Any:
    """The field `context` of a user."""
    return batch_field(
        contexts_of_users,
        description="The content of a prompt about this user: memories, documents and past messages, within a token "
        "budget. Without a query, the newest turn of the latest session is the query.",
        parameters=[
            parameter("query", OWN_QUERY),
            parameter("max_tokens", OWN_TOKENS),
            parameter("memories", MEMORIES),
            parameter("documents", DOCUMENTS),
        ],
        page_size=CONTEXT_SIZE,
    )
