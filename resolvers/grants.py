"""The permissions that a credential grants; `resolvers.permissions` says what each of them allows."""

READ, WRITE, MANAGE = PERMISSIONS = ("READ", "WRITE", "MANAGE")

Granted = frozenset[str]
"""Some of `PERMISSIONS`."""

EVERYTHING: Granted = frozenset(PERMISSIONS)
"""The permissions of the application itself."""
BY_DEFAULT: Granted = frozenset((READ, WRITE))
"""The permissions of a user token that names none."""


def listed(granted: Granted) -> list[str]:
    """The granted permissions in the order of `PERMISSIONS`."""
    return [permission for permission in PERMISSIONS if permission in granted]
