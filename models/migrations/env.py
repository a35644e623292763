"""Alembic's entry point; `models.revisions` passes the connection."""

from alembic import context

connection, applied = (context.config.attributes[name] for name in ("connection", "applied"))
context.configure(connection=connection, transactional_ddl=True, on_version_apply=applied)
with context.begin_transaction():
    context.run_migrations()
