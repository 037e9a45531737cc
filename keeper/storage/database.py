"""Opening the journal's database: settings that survive a power cut, and migrations."""

from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

from keeper.model.errors import ConfigurationError, Problem
from keeper.storage.schema import REVISION


class DatabaseUnusableError(ConfigurationError):
    """The file cannot serve as the journal: unreadable, not ours, or from a newer keeper."""

    def __init__(self, path: Path, what: str, *, fix: str) -> None:
        why = "the journal keeps an action from being made twice, so nothing is done without it"
        super().__init__(Problem(where=str(path), what=what, why=why, fix=fix))
        self.path = path


def open_database(path: Path) -> Engine:
    """Open or create the journal at `path` and bring its schema up to date.

    One connection, used by one thread. Raises `DatabaseUnusableError`."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "timeout": 5.0},
    )
    event.listen(engine, "connect", _durable)
    try:
        with engine.begin() as connection:
            _migrate(connection, path)
            # A file that can only be read shows it here, not at the first action.
            connection.execute(text("UPDATE alembic_version SET version_num = version_num"))
    except DatabaseUnusableError:
        engine.dispose()
        raise
    except DatabaseError as error:
        engine.dispose()
        raise DatabaseUnusableError(
            path,
            f"it cannot be opened as the journal ({error.orig})",
            fix="let keeper's user write the file and its folder, or name another [store] path",
        ) from error
    return engine


def open_for_reading(path: Path) -> Engine:
    """Open an existing journal without changing it. Raises `DatabaseUnusableError`."""
    return _open_as_it_is(path, "ro")


def open_beside(path: Path) -> Engine:
    """Open an existing journal to add to it while a keeper may be running on it: its schema stays
    what the keeper expects. Raises `DatabaseUnusableError`."""
    engine = _open_as_it_is(path, "rw")
    engine.dispose()
    event.listen(engine, "connect", _durable)
    return engine


def _open_as_it_is(path: Path, mode: str) -> Engine:
    if not path.is_file():
        raise DatabaseUnusableError(
            path, "nothing is recorded here yet", fix="start `keeper run` first"
        )
    engine = create_engine(
        # As a URI, so that a path may hold what has a meaning there.
        URL.create(
            "sqlite", database=path.absolute().as_uri(), query={"mode": mode, "uri": "true"}
        ),
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "timeout": 5.0},
    )
    try:
        with engine.connect() as connection:
            found = _revision(connection)
    except DatabaseError as error:
        engine.dispose()
        raise DatabaseUnusableError(
            path, f"it cannot be read ({error.orig})", fix="let the user who asks read it"
        ) from error
    if found != REVISION:
        engine.dispose()
        raise DatabaseUnusableError(
            path,
            f"it has schema {found}, this keeper reads {REVISION}",
            fix="run the same version as the daemon",
        )
    return engine


def _durable(connection: object, record: ConnectionPoolEntry) -> None:  # noqa: ARG001 - event signature
    cursor = connection.cursor()  # type: ignore[attr-defined]  # a DBAPI connection has no static type
    # FULL: with NORMAL, a power cut can lose the last commit, and with it a sent transaction.
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _revision(connection: Connection) -> str | None:
    """The schema that the file has; None while it has none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _migrate(connection: Connection, path: Path) -> None:
    if _revision(connection) == REVISION:
        return
    # Imported here, since it costs a tenth of a start that has nothing to migrate.
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", "keeper.storage:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise DatabaseUnusableError(
            path,
            "it was written by a newer keeper",
            fix="upgrade keeper, or name another [store] path",
        ) from error
