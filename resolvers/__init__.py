"""Operations on users, sessions, messages, memories, documents and agents.

No SQL, no GraphQL types, no HTTP.
"""
