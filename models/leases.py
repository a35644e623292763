"""Leases: one process at a time, of several on a database, does a background task."""

from sqlalchemy import bindparam, or_

from models.expressions import upsert
from models.statements import Statement
from models.store import Transaction
from models.tables import leases

CLOCK_STEP = 10_000
"""Milliseconds by which a lease may outlast one that begins now, since the clock may have stepped back a little."""

_given = {column.name: bindparam(column.name, type_=column.type) for column in leases.columns}
_take = Statement(
    upsert(leases)
    .values(_given)
    .on_conflict_do_update(
        index_elements=["name"],
        set_={"holder": _given["holder"], "until": _given["until"]},
        where=or_(
            leases.c.holder == _given["holder"],
            leases.c.until < bindparam("now"),
            # Its holder's clock was ahead, and has since been corrected.
            leases.c.until > _given["until"] + CLOCK_STEP,
        ),
    ),
    upkeep=True,
)


async def take_lease(write: Transaction, *, name: str, holder: bytes, now: int, length: int) -> bool:
    """Takes or renews a lease for a number of milliseconds from `now` (Unix time); False while another holds it."""
    values = {"name": name, "holder": holder, "now": now, "until": now + length}
    return await write.execute(_take, values) == 1
