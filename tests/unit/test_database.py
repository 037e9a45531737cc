"""Opening the journal: migrated, durable, refused by name where it is not ours."""

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from keeper.model.errors import ConfigurationError
from keeper.model.lifecycle import Purpose, State, Urgency
from keeper.model.units import Address
from keeper.storage.database import DatabaseUnusableError, open_database, open_for_reading
from keeper.storage.journal import Journal
from keeper.storage.schema import REVISION, metadata
from keeper.storage.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


def made(path: Path) -> Path:
    open_database(path).dispose()
    return path


def pragma(path: Path, name: str) -> object:
    engine = open_database(path)
    with engine.connect() as connection:
        found = connection.execute(text(f"PRAGMA {name}")).scalar()
    engine.dispose()
    return found


def test_open_database__new_file__has_the_tables_of_the_schema(path: Path) -> None:
    engine = open_database(path)
    with engine.connect() as connection:
        migrated = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(migrated, metadata)
        (index,) = connection.execute(
            text("SELECT sql FROM sqlite_master WHERE name = 'one_open_episode'")
        ).scalars()
    engine.dispose()
    assert differences == []
    assert "WHERE closed_block IS NULL" in index


def test_open_database__new_file__has_the_revision_that_is_taken_for_the_newest(path: Path) -> None:
    made(path)
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [(REVISION,)]


def test_open_database__nothing_to_migrate__does_without_the_tool_for_it(path: Path) -> None:
    made(path)
    opened = f"from keeper.storage.database import *; open_database(Path({str(path)!r}))"
    unloaded = "import sys; assert 'alembic' not in sys.modules, 'it was imported'"
    subprocess.run([sys.executable, "-c", f"{opened}.dispose(); {unloaded}"], check=True)


def test_open_database__again__keeps_what_is_there(path: Path) -> None:
    made(path)
    with sqlite3.connect(path) as raw:
        raw.execute(
            "INSERT INTO episodes (chain_id, market, account, opened_block) VALUES (1, 'm', 'a', 5)"
        )
    engine = open_database(path)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT opened_block FROM episodes")).scalar() == 5
    engine.dispose()


@pytest.mark.parametrize(
    ("name", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)]
)
def test_open_database__settings__survive_a_power_cut(path: Path, name: str, value: object) -> None:
    assert pragma(path, name) == value


def test_open_database__written_by_a_newer_keeper__is_refused(path: Path) -> None:
    made(path)
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseUnusableError, match="newer keeper") as caught:
        open_database(path)
    assert isinstance(caught.value, ConfigurationError)
    with pytest.raises(DatabaseUnusableError, match="schema 9999"):
        open_for_reading(path)


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\x00" * 100])
def test_open_database__another_kind_of_file__is_refused_and_left_as_it_is(
    path: Path, content: bytes
) -> None:
    path.write_bytes(content)
    for open_it in (open_database, open_for_reading):
        with pytest.raises(DatabaseUnusableError, match=str(path)):
            open_it(path)
    assert path.read_bytes() == content


def test_open_database__no_folder__is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnusableError, match="cannot be opened"):
        open_database(tmp_path / "nowhere" / "journal.sqlite3")


def test_open_for_reading__no_file__tells_what_to_do_and_makes_none(path: Path) -> None:
    with pytest.raises(DatabaseUnusableError, match="start `keeper run` first"):
        open_for_reading(path)
    assert not path.exists()


def test_open_for_reading__while_the_daemon_writes__sees_what_is_committed(path: Path) -> None:
    writer = open_database(path)
    with writer.begin() as writing:
        writing.execute(
            text(
                "INSERT INTO episodes (chain_id, market, account, opened_block) VALUES (1,'m','a',5)"
            )
        )
        reader = open_for_reading(path)
        with reader.connect() as reading:
            assert reading.execute(text("SELECT count(*) FROM episodes")).scalar() == 0
    with reader.connect() as reading:
        assert reading.execute(text("SELECT count(*) FROM episodes")).scalar() == 1
        with pytest.raises(Exception, match="readonly"):
            reading.execute(text("DELETE FROM episodes"))
    reader.dispose()
    writer.dispose()


@pytest.mark.parametrize("name", ["with space", "50%", "a#b", "what?", "%41"])
def test_open_for_reading__any_folder_name__is_found(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    engine = open_for_reading(made(folder / "journal.sqlite3"))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM episodes")).scalar() == 0
    engine.dispose()


def test_open_for_reading__relative_path__is_found(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(path)
    monkeypatch.chdir(path.parent)
    open_for_reading(Path(path.name)).dispose()


# -- the store: one keeper, one thread -----------------------------------------------------------


def test_store__second_keeper_on_one_journal__is_refused(path: Path) -> None:
    store = Store(path)
    with pytest.raises(DatabaseUnusableError, match="another keeper"):
        Store(path)
    store.close()
    Store(path).close()


def test_store__journal_unusable__leaves_it_free_for_the_next_try(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(DatabaseUnusableError) as caught:
        Store(path)
    path.unlink()
    Store(path).close()
    assert "cannot be opened" in str(caught.value)


def test_store__no_folder__is_a_problem_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnusableError, match="cannot be opened"):
        Store(tmp_path / "nowhere" / "journal.sqlite3")


async def test_store__method_fails__its_error_comes_back(path: Path) -> None:
    store = Store(path)

    def fail(what: str) -> None:
        raise ValueError(what)

    with pytest.raises(ValueError, match="told"):
        await store.run(fail, "told")
    store.close()


# -- journals of earlier versions ----------------------------------------------------------------


def test_open_database__journal_of_the_first_version__keeps_what_it_held(path: Path) -> None:
    made_by_first_version(path)
    engine = open_database(path)
    journal = Journal(engine)
    (waiting,) = journal.open_intents(1)
    assert (waiting.key, waiting.nonce, waiting.state) == ("1:m:0xa:1:Repay:3", 8, State.BROADCAST)
    assert (waiting.urgency, waiting.displaced) == (Urgency.ROUTINE, False)
    (attempt,) = waiting.attempts
    assert (attempt.purpose, attempt.hash, attempt.head_number) == (Purpose.CALL, "0x2", 100)
    # Its signed bytes expired there and freed the slot, which the next plan took.
    (done,) = journal.settled_intents(1, Address("0xa"), 0)
    assert (done.state, done.nonce) == (State.CONFIRMED, 7)
    journal.record_attempt(waiting, replace(attempt, hash="0x3", head_number=102))
    journal.move({waiting.key: State.MINED})
    engine.dispose()


def made_by_first_version(path: Path) -> None:
    """One confirmed intent, one that expired in the slot of the third, which waits."""
    engine = create_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", "keeper.storage:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text(
                "INSERT INTO decisions VALUES"
                " (1,1,'m','0xa','main',100,'0xh',1,'floor',1,'','Repay','5',NULL,NULL,NULL,'7',"
                "'1','2','{}')"
            )
        )
        connection.execute(text("INSERT INTO episodes VALUES (1, 1, 'm', '0xa', 100, NULL)"))
        for number, (state, nonce) in enumerate(
            [("confirmed", 7), ("expired", 8), ("broadcast", 8)]
        ):
            connection.execute(
                text(
                    "INSERT INTO intents VALUES (:id, :key, 1, 1, :id, 1, 'm', '0xa', '0xa',"
                    " '0xc', x'00', '0', 'Repay', 100, 105, :state)"
                ),
                {"id": number + 1, "key": f"1:m:0xa:1:Repay:{number + 1}", "state": state},
            )
            connection.execute(
                text(
                    "INSERT INTO attempts VALUES (:id, :id, :nonce, :hash, x'01', 21000, '9', '1',"
                    " NULL, NULL, NULL, NULL, NULL)"
                ),
                {"id": number + 1, "nonce": nonce, "hash": f"0x{number}"},
            )
            if state != "expired":
                connection.execute(
                    text("INSERT INTO nonce_slots VALUES (:id, 1, '0xa', :nonce, :id)"),
                    {"id": number + 1, "nonce": nonce},
                )
    engine.dispose()
