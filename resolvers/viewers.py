"""Whom a request speaks for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Viewer:
    """The application itself (`role` SERVICE) or one user of it (USER), in one project.

    A user may not be there, when an identity provider vouches for somebody whom the application has not created.
    """

    role: str = "SERVICE"
    project: str = "default"
    user_id: str | None = None
    user_key: bytes | None = None
    """The key of the user's row (`models.keys.user_key`)."""
    credential: str = "none"
    """How it was shown, for logs; never the secret."""
