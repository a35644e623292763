"""Statements find the row of a key by the key, also where they were planned before there were rows.

A connection keeps its plans until the table is analyzed for the first time, which may be minutes later.
"""

import asyncio

from models import appending, locks
from models.postgres.connecting import Address
from models.postgres.forms import form_of
from models.statements import ByKey, Statement
from tests.clusters import Cluster
from tests.statements import found_in, named


async def plans(address: Address, texts: list[str]) -> dict[str, str]:
    connection = await address.connect()
    found: dict[str, str] = {}
    for text in texts:
        values = ", ".join("NULL" for _ in (await connection.prepare(text)).get_parameters())
        await connection.execute(f"PREPARE planned AS {text}")
        found[text] = "\n".join(step for (step,) in await connection.fetch(f"EXPLAIN EXECUTE planned({values})"))
        await connection.execute("DEALLOCATE planned")
    await connection.close()
    return found


def test_a_row_is_found_by_its_key_in_an_empty_database(cluster: Cluster) -> None:
    by_key = [row.one for rows in named(ByKey).values() for row in rows]
    held = [
        each for name in ("_user", "_session", "_for_change") for each in found_in(vars(locks)[name], Statement, set())
    ]
    appended = vars(appending)["_appending"](("role", "content", "created_at", "updated_at"))
    texts = [form_of(each, "postgres").text for each in (*by_key, *held, appended)]
    assert len(texts) > 10
    for text, plan in asyncio.run(plans(Address(cluster.url(cluster.database())), texts)).items():
        assert "using pk_" in plan or "on pk_" in plan, (text, plan)
        assert "Index Cond: (project" not in plan, (text, plan)
