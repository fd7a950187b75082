"""The database behind the store of votes: its tables, how it is reached, and its complaints in one line.

In: a file name or a URL. Out: a `Database` that hands out transactions; SQLite with a write-ahead log and every commit
on disk, or PostgreSQL. Passwords never appear in a message.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from galaxysd.errors import InputError

CONNECT = 10  # s
GATE = 0x6761_6C61_7879  # key of PostgreSQL's advisory lock

METADATA = sa.MetaData()
FORMATS = sa.Table("discovery_format", METADATA, sa.Column("version", sa.Integer, primary_key=True))
SEARCHES = sa.Table(
    "discovery_searches",
    METADATA,
    sa.Column("key", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("survey", sa.Text, nullable=False),
    sa.Column("survey_hash", sa.Text, nullable=False),
    sa.Column("model_hash", sa.Text, nullable=False),
    sa.Column("galaxies", sa.BigInteger, nullable=False),
)
CANDIDATES = sa.Table(
    "discovery_candidates",
    METADATA,
    sa.Column("key", sa.Integer, primary_key=True),
    sa.Column("search", sa.ForeignKey(SEARCHES.c.key), nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("rank", sa.Integer, nullable=False),
    sa.Column("score", sa.Double, nullable=False),
    sa.Column("spread", sa.Double, nullable=False),
    sa.Column("ra", sa.Double),
    sa.Column("dec", sa.Double),
    sa.Column("image", sa.LargeBinary),
    sa.Column("image_link", sa.Text),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Column("turn", sa.Double, nullable=False),  # see `turn`
    sa.UniqueConstraint("search", "id"),
    sa.UniqueConstraint("search", "rank"),
    sa.Index("discovery_turns", "search", "turn"),
)
VOTES = sa.Table(
    "discovery_votes",
    METADATA,
    sa.Column("key", sa.Integer, primary_key=True),
    sa.Column("candidate", sa.ForeignKey(CANDIDATES.c.key), nullable=False),
    sa.Column("voter", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, sa.CheckConstraint("answer IN ('yes', 'no', 'unsure')"), nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("time", sa.Double, nullable=False),
    sa.Index("discovery_voters", "candidate", "voter"),
)
NOTES = sa.Table(
    "discovery_notes",
    METADATA,
    sa.Column("key", sa.Integer, primary_key=True),
    sa.Column("candidate", sa.ForeignKey(CANDIDATES.c.key), nullable=False, index=True),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("time", sa.Double, nullable=False),
)


class Database:
    """A database that has been found.

    Attributes:
        name: what to call it in messages.
    """

    def __init__(self, place: str | Path, wait: float) -> None:
        """See `VettingStore.open`."""
        self._engine, self.name = _engine(place, wait)
        self._wait = wait

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def has_tables(self) -> bool:
        """Whether the tables were made."""
        with self.reading() as connection:
            return sa.inspect(connection).has_table(FORMATS.name)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that changes nothing and waits for nobody."""
        with self._explained(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self, *, alone: bool = False) -> Iterator[sa.Connection]:
        """A transaction that is on disk when the block has ended, or leaves nothing.

        Args:
            alone: wait until nobody else is in such a block (with SQLite there is never another writer).
        """
        with self._explained(), self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            if alone and self._engine.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(GATE)))
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What the database complains about, as one line without secrets."""
        try:
            yield
        except sa.exc.IntegrityError:
            raise InputError(f"{self.name}: someone else changed the same rows; nothing was saved, try again") from None
        except sa.exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            text = (str(cause).splitlines() or [type(cause).__name__])[0].strip()
            for secret in _secrets(self._engine.url):
                text = text.replace(secret, "***")
            if "locked" in text or type(cause).__name__ == "LockNotAvailable":
                raise InputError(
                    f"{self.name}: locked by another program for over {self._wait:g} s; nothing was saved, try again"
                ) from None
            raise InputError(f"{self.name}: cannot be used ({text}); repeat what was not confirmed") from None


def _engine(place: str | Path, wait: float) -> tuple[sa.Engine, str]:
    """An engine, and what to call it in messages: passwords are masked."""
    if "://" not in str(place):
        path = Path(place)
        if path.is_dir():
            raise InputError(f"{path}: is a folder; name a file for the store, e.g. {path / 'vetting.db'}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path}: cannot be made ({error.strerror})") from None
        return _sqlite(sa.URL.create("sqlite", database=str(path)), wait), str(path)
    try:
        url = sa.make_url(str(place))
    except (sa.exc.ArgumentError, ValueError):
        raise InputError("store: not a database URL; expected postgresql://user@host/database or a file") from None
    backend = url.get_backend_name()
    if backend == "sqlite" and url.database:
        return _engine(url.database, wait)
    if backend not in ("postgresql", "postgres"):
        raise InputError(f"store: {backend} is not known; expected postgresql://user@host/database or a file")
    options = f"-c lock_timeout={int(1000 * wait)}"
    try:
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args={"connect_timeout": CONNECT, "options": options},
            pool_pre_ping=True,
            hide_parameters=True,
        )
    except ModuleNotFoundError:
        raise InputError("store: PostgreSQL needs the package psycopg; pip install 'psycopg[binary]'") from None
    shown = url.set(query={key: "***" if "password" in key else value for key, value in url.query.items()})
    return engine, shown.render_as_string(hide_password=True)


def _secrets(url: sa.URL) -> list[str]:
    values = [url.password, *(value for key, value in url.query.items() if "password" in key)]
    return [value for value in values if isinstance(value, str) and value]


def _sqlite(url: sa.URL, wait: float) -> sa.Engine:
    """SQLite with a write-ahead log, full durability, foreign keys, and transactions that we begin ourselves."""
    engine = sa.create_engine(url, connect_args={"timeout": wait}, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        give_up = time.monotonic() + wait
        while True:  # SQLite does not wait by itself when two connections change the mode of a new file
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > give_up:
                    raise
                time.sleep(0.02)

    @sa.event.listens_for(engine, "begin")
    def _begun(connection: sa.Connection) -> None:
        # A transaction that reads first and writes later would fail rather than wait for another writer.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
