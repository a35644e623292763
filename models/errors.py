"""What can go wrong with the data.

DataError
├── DatabaseProblem      the database can't be opened or used; the message is for the operator
├── Unavailable          a read or a write couldn't be carried out now; nothing of it was kept
├── ConstraintViolated   a row breaks a rule of its table, such as a key that is taken
├── TookTooLong          a read or a computation was given up
└── TooLarge             an answer would have more bytes than one may
"""


class DataError(Exception):
    """The root of this room's errors."""


class DatabaseProblem(DataError):
    """Says what is wrong with the database and what to do; shown by the command line."""


class Unavailable(DataError):
    """The database could not do this now (disk full, locked, gone). It may be tried again."""


class ConstraintViolated(DataError):
    """A row breaks a rule of its table, such as a key that is taken. The message is for the log alone."""


class TookTooLong(DataError):
    """A read or a computation took longer than one may."""


class TooLarge(DataError):
    """The rows for an answer have more bytes than one may."""
