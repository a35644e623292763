"""The back end of the page: it issues tokens, has questions answered, and serves the built files.

It holds the API key. The page never sees it: it gets a token that opens one user's data for some minutes.

For the demonstration only: `POST /token` believes whatever name the page sends. An application takes the user from its
own login. Therefore this back end serves loopback `Host`s and pages of its own origin, and nobody else.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from examples.chat.assistant import Assistant, Unknown, answer
from examples.chat.recall import Recall, RecallError

LOOPBACK = ["127.0.0.1", "localhost"]

ISSUE = """mutation ($user: UpsertUserInput!, $token: IssueUserTokenInput!) {
  upsertUser(input: $user) { userErrors { message } }
  issueUserToken(input: $token) { token userErrors { message } }
}"""


@dataclass(frozen=True)
class BackEnd:
    """The routes, and what they need."""

    recall: Recall
    assistant: Assistant
    page: Path
    token_seconds: int

    async def token(self, request: Request) -> Response:
        """A token for the user whom the page names; see the module."""
        user = await text_of(request, "user")
        token = {"userId": user, "expiresInSeconds": self.token_seconds, "permissions": ["READ", "WRITE", "MANAGE"]}
        issued = (await self.recall(ISSUE, user={"userId": user}, token=token))["issueUserToken"]
        answered = {"token": issued["token"], "expiresInSeconds": self.token_seconds}
        return JSONResponse(answered, headers={"cache-control": "no-store"})

    async def assist(self, request: Request) -> Response:
        """Answers a message of the user whose token comes along."""
        _, _, token = request.headers.get("authorization", "").partition(" ")
        if not token:
            raise HTTPException(401, "A user token is needed.")
        session_id, message_id = await text_of(request, "sessionId"), await text_of(request, "messageId")
        try:
            await answer(self.recall, self.assistant, token, session_id, message_id)
        except Unknown as error:
            raise HTTPException(404, "There is no such message.") from error
        return JSONResponse({})

    async def settings(self, _: Request) -> Response:
        return JSONResponse({"endpoint": self.recall.endpoint, "model": self.assistant.name})

    async def icon(self, _: Request) -> Response:
        return FileResponse(self.page / "icon.svg")

    async def index(self, _: Request) -> Response:
        endpoint = urlsplit(self.recall.endpoint).netloc
        policy = (
            f"default-src 'self'; connect-src 'self' http://{endpoint} ws://{endpoint}; img-src 'self' data:; "
            "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        )
        headers = {"content-security-policy": policy, "cache-control": "no-cache", "referrer-policy": "no-referrer"}
        return FileResponse(self.page / "index.html", headers=headers)


async def text_of(request: Request, name: str) -> str:
    """A text of the body's JSON. The page's origin is checked here, before anything is done for it."""
    if request.headers.get("origin") not in (None, f"http://{request.headers['host']}"):
        raise HTTPException(403, "This is another origin.")
    try:
        text = (await request.json())[name]
    except (ValueError, LookupError, TypeError):
        text = None
    if not isinstance(text, str) or not text:
        raise HTTPException(400, f"The body is a JSON object with the text `{name}`.")
    return text


async def tell(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code)
    return JSONResponse({"error": str(error)}, 502)


def create_back_end(recall: Recall, assistant: Assistant, page: Path, token_seconds: int) -> Starlette:
    back_end = BackEnd(recall, assistant, page, token_seconds)
    return Starlette(
        routes=[
            Route("/token", back_end.token, methods=["POST"]),
            Route("/assistant", back_end.assist, methods=["POST"]),
            Route("/settings", back_end.settings),
            Mount("/assets", StaticFiles(directory=page / "assets")),
            Route("/icon.svg", back_end.icon),
            Route("/{path:path}", back_end.index),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK)],
        exception_handlers={HTTPException: tell, RecallError: tell},
    )
