"""The local Prefect server: `python -m rollway.local.prefect_server server start`.

It starts in three quarters of the time that `prefect server start` takes, and does not stand still on SQLite.

Prefect begins most transactions on SQLite as deferred. One that reads first and is overtaken by another write fails at
once with "database is locked", and leaves an open cursor behind. If Python frees it in the event loop while its
connection waits for a lock, the loop stands still until that wait ends, and that is after 60 s: see `cursor_clear` in
CPython's Modules/_sqlite/cursor.c, and `AioSqliteConfiguration` in prefect/server/database/configurations.py.
Transactions that take the write lock when they begin cannot be overtaken.
"""

from sqlalchemy import Connection

from rollway.imports import quick_imports

with quick_imports():
    import prefect.server.api.server  # noqa: F401 - the command would import it later
    from prefect.cli import app
    from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration


def begin_immediate(_: AioSqliteConfiguration, connection: Connection) -> None:
    """Begin a transaction with the write lock; without a mode there is none, as in Prefect's own method."""
    if SQLITE_BEGIN_MODE.get() is not None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


if __name__ == "__main__":
    AioSqliteConfiguration.begin_sqlite_stmt = begin_immediate  # type: ignore[method-assign, assignment]
    app()
