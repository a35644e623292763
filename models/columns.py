"""The types of columns and parameters, each as the databases keep it.

Rows have a key as 16 bytes, a time and a JSON value as `models.values` says, on every database.
"""

from sqlalchemy import BigInteger, Integer, LargeBinary, Text
from sqlalchemy.dialects import postgresql

Key = LargeBinary(16).with_variant(postgresql.UUID(as_uuid=True), "postgresql")
Time = Text().with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
# PostgreSQL sorts by the locale unless told; cursors and clients count on code points.
Words = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
Number = BigInteger().with_variant(Integer(), "sqlite")
Json = Text().with_variant(postgresql.JSONB(), "postgresql")
