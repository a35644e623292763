"""The distribution of the tables over the machines of a Citus cluster, for `recallql migrate --citus`.

A session and all that belongs to it are in one shard, by the session's key, so that an append or a page of messages
goes to one machine. All other tables stay on the coordinator as they are on PostgreSQL: users and agents, to which
transactions refer with locks, and memories and documents, whose keys change when a user is renamed.

A statement that goes by one session's key runs as on PostgreSQL. Of others Citus refuses some forms; they get another
one, either in `Statement.others` under "citus", or as an expression (`models.expressions.on_citus`):

- A subquery that reads distributed tables refers to nothing outside of it, except to the distribution column of a
  distributed table by its own. A page of each of many parents is cut by row_number() in place of LATERAL with LIMIT.
- Rows are locked by one distribution key at a time, and a distribution column is never updated.
- Keys of distributed tables hold the distribution column, and their foreign keys lead along it.

`tests/test_citus.py` holds tables and statements to these rules.
"""

from models.tables import (
    deleted_messages,
    jobs,
    message_vectors,
    messages,
    session_deletions,
    sessions,
    withheld_memories,
)

DISTRIBUTED = {
    sessions.name: "key",
    messages.name: "session_key",
    session_deletions.name: "session_key",
    deleted_messages.name: "session_key",
    jobs.name: "session_key",
    message_vectors.name: "session_key",
    withheld_memories.name: "session_key",
}
"""The distribution column of each distributed table. One comes after those that it refers to."""
