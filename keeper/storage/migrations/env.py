"""Alembic's entry: migrate over the connection that `open_database` hands in."""

from alembic import context

from keeper.storage.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
