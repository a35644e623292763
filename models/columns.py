"""The types of columns and parameters, each with its form in the databases.

On every database a row has a key as 16 bytes, and times and JSON values in the form of `models.values`.
"""

from sqlalchemy import BigInteger, Boolean, Integer, LargeBinary, Text
from sqlalchemy.dialects import postgresql

Key = LargeBinary(16).with_variant(postgresql.UUID(as_uuid=True), "postgresql")
Time = Text().with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
# By default PostgreSQL sorts by locale; cursors and clients rely on the order of code points.
Words = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
Number = BigInteger().with_variant(Integer(), "sqlite")
Json = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
# SQLite stores it as 0 and 1.
Flag = Boolean()
