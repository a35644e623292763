"""The SQL of the servers that read a level at a time: each parent's page, with a row more to know of a next page."""

import os

DATABASE = os.environ["DATABASE"]
PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    f"PRAGMA synchronous = {os.environ['SYNCHRONOUS']}",
    "PRAGMA busy_timeout = 10000",
    "PRAGMA cache_size = -65536",
    "PRAGMA mmap_size = 268435456",
)

USER = "SELECT id, user_id, email, name, about, created_at FROM users WHERE user_id = :user_id"

USERS = """
SELECT id, user_id, email, name, about, created_at FROM users
WHERE :after IS NULL OR id < :after ORDER BY id DESC LIMIT :first + 1
"""

SESSIONS = """
SELECT parents.value, s.id, s.session_id, s.situation
FROM json_each(:parents) parents CROSS JOIN sessions s
WHERE s.user_id = parents.value
  AND s.id IN (SELECT x.id FROM sessions x WHERE x.user_id = parents.value ORDER BY x.id DESC LIMIT :first + 1)
ORDER BY parents.key, s.id DESC
"""

MESSAGES = """
SELECT parents.value, m.id, m.sequence, m.role, m.content, m.created_at
FROM json_each(:parents) parents CROSS JOIN messages m
WHERE m.session_id = parents.value
  AND m.sequence IN (
    SELECT x.sequence FROM messages x WHERE x.session_id = parents.value ORDER BY x.sequence LIMIT :first + 1
  )
ORDER BY parents.key, m.sequence
"""

TAKE_SEQUENCES = """
UPDATE sessions SET last_sequence = last_sequence + :count WHERE session_id = :session_id RETURNING id, last_sequence
"""

ADD_MESSAGE = """
INSERT INTO messages (session_id, sequence, role, content, created_at)
VALUES (:session, :sequence, :role, :content, :created_at) RETURNING id
"""
