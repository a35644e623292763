"""Credentials, as clients see them."""

import strawberry

from resolvers.credentials import issue_user_token
from schema.inputs import optional, required
from schema.mutations import UserError, errors_field, mutation
from schema.scalars import DateTime


@strawberry.input(description="A token to issue.")
class IssueUserTokenInput:
    user_id: str = required("The user whom the token speaks for.")
    expires_in_seconds: int | None = optional(
        "How long the token is good, 1 to 86,400 seconds (24 hours); 900 (15 minutes) when left out."
    )


@strawberry.type(description="What became of issueUserToken.")
class IssueUserTokenPayload:
    token: str | None = required("The token: send it as `Authorization: Bearer` and the token. It is not kept.")
    expires_at: DateTime | None = required("When it stops being good.")
    user_errors: list[UserError] = errors_field()


@strawberry.type
class CredentialMutations:
    issue_user_token: IssueUserTokenPayload = mutation(
        issue_user_token,
        IssueUserTokenInput,
        dict[str, object],
        description="Issues a token that a browser may hold: it sees one user and nothing else.",
    )
