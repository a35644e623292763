"""The store: tables, rows, statements and migrations. All SQL is in this package.

store.py                       the interface: a database by its URL, reads, transactions, what was committed
tables.py, rows.py, columns.py the tables, the types of their rows, the types of columns
statements.py, expressions.py  statements with the type of their rows, and SQL that databases write differently
writing.py, keyset.py          rows written one by one; pages of any list
values.py, keys.py, scope.py   times and JSON; keys of rows; whose data a statement may touch
users.py, sessions.py, …       the statements on each noun
revisions.py, copying.py       the versions of the tables; all rows of a database into another one
distribution.py                how Citus spreads the tables over machines
search.py, vectors.py          what search reads, for each kind of `search_kinds.py`
allowance.py, threads.py, loop_turns.py   what a request may use, and its turns
sqlite/, postgres/             what only one database needs
"""
