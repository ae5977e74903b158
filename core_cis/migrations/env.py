"""What alembic runs: the steps, on the connection and within the transaction that the caller has begun."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transactional_ddl=True)
context.run_migrations()
