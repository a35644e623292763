"""The errors of the store.

DataError
├── DatabaseProblem      the database can't be opened or used; the message is for the operator
├── Unavailable          a read or a write can't be done now; nothing of it was kept, unless the message says so
│   └── Exhausted        all connections to the database are in use
├── Overtaken            another transaction was faster; the store runs the operation again, so no caller sees it
├── ConstraintViolated   a row breaks a rule of its table, such as a key that is taken
├── TookTooLong          a read or a computation exceeded its time limit
└── TooLarge             the rows of an answer exceed its limit of bytes
"""


class DataError(Exception):
    """The root of the store's errors."""


class DatabaseProblem(DataError):
    """The database can't be opened or used. The message tells the operator what to do; the command line shows it."""


class Unavailable(DataError):
    """The database can't do this now (disk full, locked, gone). The caller may retry."""


class Exhausted(Unavailable):
    """All connections to the database are in use, and none became free in time."""


class Overtaken(DataError):
    """Another transaction has changed what this one goes by. The store undoes it and runs the operation again."""


class ConstraintViolated(DataError):
    """A row violates a constraint, such as a unique key. The message is for the log only."""


class TookTooLong(DataError):
    """A read or a computation exceeded its time limit."""


class TooLarge(DataError):
    """The rows for an answer exceed its limit of bytes."""
