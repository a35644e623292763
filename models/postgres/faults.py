"""Explains the driver's errors: to the operator in one line, and to clients without anything of the database."""

import socket
import ssl
from typing import Any

import asyncpg
from asyncpg import exceptions as pg

from models.errors import ConstraintViolated, DatabaseProblem, DataError, Overtaken, TookTooLong, Unavailable
from models.postgres.urls import ignored_password_file

GONE: tuple[type[BaseException], ...] = (
    pg.PostgresConnectionError,
    pg.AdminShutdownError,
    pg.CrashShutdownError,
    pg.CannotConnectNowError,
    pg.TooManyConnectionsError,
    pg.IdleInTransactionSessionTimeoutError,
    # Of a statement that was sent while the driver read that the connection ends.
    asyncpg.InternalClientError,
    OSError,
    EOFError,
)
"""The connection is gone, or there was none to be had. Whatever was not committed is undone."""

AGAIN: tuple[type[BaseException], ...] = (pg.SerializationError, pg.DeadlockDetectedError, Overtaken)
"""Another transaction was faster. All of this one is undone; begun anew it finds what the other one has written."""

TAKEN: tuple[type[BaseException], ...] = (pg.UniqueViolationError, pg.ForeignKeyViolationError)
"""Another transaction may have been faster, or else the rows break a rule, however often it is begun anew."""


def is_gone(error: BaseException) -> bool:
    return isinstance(error, GONE) or (isinstance(error, asyncpg.InterfaceError) and "clos" in str(error))


def explained(error: Exception) -> Exception:
    """Translates an error of the database; returns one of the program unchanged."""
    if isinstance(error, DataError) and not isinstance(error, Overtaken):
        return error
    if isinstance(error, pg.IntegrityConstraintViolationError):
        return ConstraintViolated(str(error))
    if isinstance(error, pg.QueryCanceledError | TimeoutError):
        return TookTooLong("This took too long; ask for less at once.")
    if isinstance(error, pg.ReadOnlySQLTransactionError):
        return Unavailable("The database takes no writes at the moment; try again.")
    if isinstance(error, pg.DiskFullError | pg.OutOfMemoryError | pg.InsufficientResourcesError):
        return Unavailable("The database has no room for this at the moment; try again.")
    if isinstance(error, (*AGAIN, pg.LockNotAvailableError)):
        return Unavailable("Others are changing the same; try again.")
    if is_gone(error):
        return Unavailable("The database can't be reached at the moment; try again.")
    return error


def problem_of(error: BaseException, name: str, user: str | None) -> DatabaseProblem:
    """The reason why a database can't be opened, and what to do about it, in one line for the operator."""
    if isinstance(error, DatabaseProblem):
        return error
    return DatabaseProblem(_said(error, name, user))


def _said(error: BaseException, name: str, user: str | None) -> str:
    said, who = _line(error), user or "the user"
    match error:
        case pg.InvalidCatalogNameError():
            return f"{name} does not exist: create the database with `createdb`, then run `recallql migrate`."
        case pg.InvalidPasswordError() | pg.InvalidAuthorizationSpecificationError():
            if ignored := ignored_password_file():
                said += f"; the password file {ignored} is not read, since others may read it: chmod 600"
            return f"{name} does not let {who} in ({said}); check the user and the password of the database URL."
        case pg.InsufficientPrivilegeError():
            return f"{who} may not do this in {name} ({said}); grant the rights, or use the database's owner."
        case pg.ProtocolViolationError() if "startup parameter" in said:
            return f"{name} is a pooler's ({said}); give the URL of the server itself for this."
        case pg.TooManyConnectionsError():
            return (
                f"{name} has no connection left ({said}); raise its max_connections, or lower "
                "RECALLQL_DATABASE_CONNECTIONS or RECALLQL_WORKERS."
            )
        case ssl.SSLError():
            return f"{name} can't be reached by TLS ({said}); check `sslmode` and `sslrootcert` of the database URL."
        case socket.gaierror():
            return f"{name} can't be found ({said}); check the host of the database URL."
        case OSError() | TimeoutError():
            said = said or "no answer"
            return f"{name} can't be reached ({said}); check that the server runs, and the host and port of the URL."
        case _:
            return f"{name} can't be used: {said}."


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")


def is_postgres(error: Any) -> bool:
    return isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError | OSError | TimeoutError)
