"""The GraphQL types of credentials."""

import strawberry

from resolvers.credentials import issue_user_token
from schema.inputs import optional, required
from schema.mutations import UserError, errors_field, mutation
from schema.permissions import UserPermission
from schema.scalars import DateTime


@strawberry.input(description="A token to issue.")
class IssueUserTokenInput:
    user_id: str = required("The user whom the token speaks for.")
    expires_in_seconds: int | None = optional(
        "The lifetime of the token, 1 to 86,400 seconds (24 hours); 900 (15 minutes) when left out."
    )
    permissions: list[UserPermission] | None = optional("Its permissions, one or more; READ and WRITE when left out.")


@strawberry.type(description="The result of issueUserToken.")
class IssueUserTokenPayload:
    token: str | None = required("The token, to send in the header `Authorization: Bearer <token>`. It is not stored.")
    expires_at: DateTime | None = required("The time of its expiry.")
    user_errors: list[UserError] = errors_field()


@strawberry.type
class CredentialMutations:
    issue_user_token: IssueUserTokenPayload = mutation(
        issue_user_token,
        IssueUserTokenInput,
        dict[str, object],
        description="Issues a token for one user, which a browser may hold. It gives access to that user's data only.",
    )
