"""The resources: a user and a session, as pages in Markdown."""

from typing import NamedTuple
from urllib.parse import quote, unquote

from recallql.mcp import documents, results, texts
from recallql.mcp.faults import Execute, read
from resolvers.connections import DEFAULT_PAGE, LARGEST_PAGE

USERS, SESSIONS = "recallql://users/", "recallql://sessions/"


class Listed(NamedTuple):
    """A resource in the list of them."""

    uri: str
    name: str
    title: str


def uri_of(place: str, id: str) -> str:
    """The address of a user or a session; an id may have any characters."""
    return place + quote(id, safe="")


async def listed(execute: Execute) -> list[Listed]:
    """The viewer's own user, and the sessions that were used last."""
    data = await read(execute, documents.LIST_RESOURCES, first=DEFAULT_PAGE)
    user = data["viewer"]["user"]
    own = [Listed(uri_of(USERS, user["userId"]), user["userId"], user["name"] or user["userId"])] if user else []
    sessions = [
        Listed(uri_of(SESSIONS, each["sessionId"]), each["sessionId"], each["title"] or each["sessionId"])
        for each in data["sessions"]["nodes"]
    ]
    return own + sessions


async def page(execute: Execute, uri: str) -> str | None:
    """The resource at this address; None if there is none."""
    if uri.startswith(USERS):
        data = await read(execute, documents.READ_USER, userId=unquote(uri.removeprefix(USERS)), first=LARGEST_PAGE)
        return data["user"] and texts.of_user(data["user"])
    if uri.startswith(SESSIONS):
        id = unquote(uri.removeprefix(SESSIONS))
        data = await read(execute, documents.READ_SESSION, sessionId=id, last=LARGEST_PAGE, before=None)
        return data["session"] and texts.of_session(results.read_session(data["session"]))
    return None
