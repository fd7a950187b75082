"""Where searches, their candidates, people's votes and notes are kept: one SQLite file, or PostgreSQL by its URL.

In: candidates of a search; votes of several people, at the same time if need be. Out: the next galaxy to look at,
counts of votes, the whole history.

A vote is a row that is only ever added; the latest row of a voter counts. `cast_vote` returns when the row is on disk,
so neither a crash nor another writer can lose it. The file must lie on a local disk (SQLite's write-ahead log).
"""

import hashlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

import polars as pl
import sqlalchemy as sa
from pydantic import Field

from galaxysd.errors import InputError
from galaxysd.settings import FrozenModel
from galaxysd.vetting.candidates import Candidate, Line, Name, Search, checked
from galaxysd.vetting.database import CANDIDATES, FORMATS, METADATA, NOTES, SEARCHES, VOTES, Database

FORMAT = 1
WAIT = 30.0  # s
FIRST_STRATUM = 50  # ranks; every further stratum reaches to twice the rank

Answer = Literal["yes", "no", "unsure"]
Order = Literal["rank", "sample", "uncertain"]

ORDERS: dict[Order, sa.ColumnElement[Any]] = {
    "rank": CANDIDATES.c.rank,
    "sample": CANDIDATES.c.turn,
    "uncertain": CANDIDATES.c.spread.desc(),
}
_CURRENT = sa.select(sa.func.max(VOTES.c.key)).group_by(VOTES.c.candidate, VOTES.c.voter)


class Added(FrozenModel):
    """What `add_candidates` did."""

    search: str
    added: int = Field(ge=0, description="candidates that are new")
    known: int = Field(ge=0, description="candidates that were there already")


class Vote(FrozenModel):
    """One answer of one person."""

    id: Name = Field(description="of the galaxy")
    voter: Name
    answer: Answer = Field(description="is it the target?")
    note: Line = ""
    time: float = Field(ge=0, description="seconds since 1970")


class Note(FrozenModel):
    """A remark on a galaxy."""

    id: Name = Field(description="of the galaxy")
    author: Name
    text: Line = Field(min_length=1)
    time: float = Field(ge=0, description="seconds since 1970")


def stratum(rank: int) -> tuple[int, int]:
    """The ranks that are sampled together with this one: 1-50, 51-100, 101-200, 201-400, ..."""
    last = FIRST_STRATUM
    while rank > last:
        last *= 2
    return (1 if last == FIRST_STRATUM else last // 2 + 1), last


def turn(search: str, candidate_id: str, rank: int) -> float:
    """When a galaxy has its turn in a random sample: a hash in [0, 1) times the number of ranks in its stratum.

    So the order within a stratum is random and the same for everyone, and all strata are sampled at an equal pace.
    """
    first, last = stratum(rank)
    digest = hashlib.sha256(f"{search}\n{candidate_id}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48 * (last - first + 1)


class VettingStore:
    """An open store; also a context manager. Any number of processes may have it open."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __str__(self) -> str:
        return self._database.name

    @classmethod
    def open(cls, place: str | Path, *, wait: float = WAIT) -> Self:
        """Open a store, or make it.

        Args:
            place: an SQLite file, or a URL such as postgresql://user@host/database.
            wait: how long to wait for another writer, s.

        Raises:
            InputError: it cannot be reached, is something else, or belongs to another version.
        """
        database = Database(place, wait)
        try:
            if not database.has_tables():
                with database.writing(alone=True) as connection:
                    METADATA.create_all(connection)
                    if connection.scalar(sa.select(FORMATS.c.version)) is None:
                        connection.execute(sa.insert(FORMATS).values(version=FORMAT))
            with database.reading() as connection:
                version = connection.scalar(sa.select(FORMATS.c.version))
            if version != FORMAT:
                raise InputError(f"{database.name}: is a store of format {version}; GalaxySD here reads {FORMAT}")
        except InputError:
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        """Give the connections back."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_candidates(self, search: Search, candidates: Iterable[Candidate]) -> Added:
        """Add candidates of a search: all, or none if something is wrong. Those that are there stay as they are.

        Raises:
            InputError: the search or a candidate is there with other values, or an id or rank comes twice.
        """
        new = checked(candidates, f"search {search.name!r}")
        with self._database.writing(alone=True) as connection:
            earlier = connection.execute(sa.select(SEARCHES).where(SEARCHES.c.name == search.name)).one_or_none()
            if earlier is None:
                row = connection.execute(sa.insert(SEARCHES).values(**search.model_dump()))
                key = int((row.inserted_primary_key or (0,))[0])
            else:
                key = earlier.key
                other = [name for name, value in search.model_dump().items() if getattr(earlier, name) != value]
                if other:
                    raise InputError(
                        f"{self}: has a search {search.name!r} with another {other[0].replace('_', ' ')}; "
                        "give this one a name of its own"
                    )
            columns = (CANDIDATES.c.id, CANDIDATES.c.rank, CANDIDATES.c.score)
            there = {row.id: row for row in connection.execute(sa.select(*columns).where(CANDIDATES.c.search == key))}
            ranks = {row.rank: row.id for row in there.values()}
            rows = []
            for one in new:
                before = there.get(one.id)
                if before is not None and (before.rank, before.score) != (one.rank, one.score):
                    raise InputError(
                        f"{self}: search {search.name!r} has galaxy {one.id!r} with another rank or score; "
                        "give this search a name of its own"
                    )
                if before is None:
                    if one.rank in ranks:
                        raise InputError(f"{self}: rank {one.rank} of {search.name!r} is galaxy {ranks[one.rank]!r}")
                    values = {**one.model_dump(), "reasons": list(one.reasons)}
                    rows.append({**values, "search": key, "turn": turn(search.name, one.id, one.rank)})
            if rows:
                connection.execute(sa.insert(CANDIDATES), rows)
        return Added(search=search.name, added=len(rows), known=len(new) - len(rows))

    def searches(self) -> list[Search]:
        """All searches, in the order they came."""
        columns = [SEARCHES.c[name] for name in Search.model_fields]
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(*columns).order_by(SEARCHES.c.key)).mappings().all()
        return [Search(**row) for row in rows]

    def search(self, name: str) -> Search:
        """A search by its name.

        Raises:
            InputError: there is none.
        """
        found = self.searches()
        for one in found:
            if one.name == name:
                return one
        names = ", ".join(repr(one.name) for one in found) or "none"
        raise InputError(f"{self}: no search {name!r}; it has {names}")

    def candidate(self, search: str, candidate_id: str) -> Candidate:
        """A candidate with its image.

        Raises:
            InputError: there is none.
        """
        with self._database.reading() as connection:
            key = self._candidate_key(connection, search, candidate_id)
            return _candidate(connection.execute(sa.select(CANDIDATES).where(CANDIDATES.c.key == key)).mappings().one())

    def next_to_vet(
        self, search: str, voter: str, *, order: Order = "rank", enough: int | None = None
    ) -> Candidate | None:
        """The next galaxy this person has not answered for.

        Args:
            search: its name.
            voter: who is asked.
            order: `rank`: best first; `sample`: at random within strata of rank, which purity and completeness are
                estimated from; `uncertain`: largest spread of the score first, for another round of training.
            enough: pass over galaxies that so many people have answered for; None: ask everyone about everything.

        Returns:
            The candidate, or None when all is done.

        Raises:
            InputError: no such search or order.
        """
        if order not in ORDERS:
            raise InputError(f"order {order!r}: expected one of {', '.join(ORDERS)}")
        mine = sa.exists().where(VOTES.c.candidate == CANDIDATES.c.key, VOTES.c.voter == voter)
        with self._database.reading() as connection:
            key = self._search_key(connection, search)
            query = sa.select(CANDIDATES).where(CANDIDATES.c.search == key, ~mine)
            if enough is not None:
                people = sa.select(sa.func.count(VOTES.c.voter.distinct())).where(VOTES.c.candidate == CANDIDATES.c.key)
                query = query.where(people.scalar_subquery() < enough)
            row = connection.execute(query.order_by(ORDERS[order], CANDIDATES.c.rank).limit(1)).mappings().one_or_none()
        return None if row is None else _candidate(row)

    def cast_vote(self, search: str, candidate_id: str, voter: str, answer: Answer, note: str = "") -> Vote:
        """Record an answer; it takes the place of the voter's earlier one, which stays in the history.

        Returns:
            The vote, which is on disk by then.

        Raises:
            InputError: no such galaxy or answer, a name or note that cannot be stored, or the store is locked.
        """
        values = {"id": candidate_id, "voter": voter, "answer": answer, "note": note.strip(), "time": time.time()}
        vote = Vote.parse(values, f"vote on {candidate_id!r}")
        with self._database.writing() as connection:
            key = self._candidate_key(connection, search, candidate_id)
            connection.execute(sa.insert(VOTES).values(candidate=key, **vote.model_dump(exclude={"id"})))
        return vote

    def add_note(self, search: str, candidate_id: str, author: str, text: str) -> Note:
        """Record a remark.

        Raises:
            InputError: no such galaxy, an empty text or one that cannot be stored, or the store is locked.
        """
        values = {"id": candidate_id, "author": author, "text": text.strip(), "time": time.time()}
        note = Note.parse(values, f"note on {candidate_id!r}")
        with self._database.writing() as connection:
            key = self._candidate_key(connection, search, candidate_id)
            connection.execute(sa.insert(NOTES).values(candidate=key, **note.model_dump(exclude={"id"})))
        return note

    def notes(self, search: str, candidate_id: str | None = None) -> list[Note]:
        """Remarks on one galaxy or on all of a search, those that came with a vote included, in order of time."""
        voted = sa.select(VOTES.c.candidate, VOTES.c.voter.label("author"), VOTES.c.note.label("text"), VOTES.c.time)
        plain = sa.select(NOTES.c.candidate, NOTES.c.author, NOTES.c.text, NOTES.c.time)
        said = sa.union_all(voted.where(VOTES.c.key.in_(_CURRENT), VOTES.c.note != ""), plain).subquery()
        columns = (CANDIDATES.c.id, said.c.author, said.c.text, said.c.time)
        with self._database.reading() as connection:
            key = self._search_key(connection, search)
            query = sa.select(*columns).join(said, said.c.candidate == CANDIDATES.c.key)
            query = query.where(CANDIDATES.c.search == key)
            if candidate_id is not None:
                query = query.where(CANDIDATES.c.id == candidate_id)
            rows = connection.execute(query.order_by(said.c.time, CANDIDATES.c.rank)).mappings().all()
        return [Note(**row) for row in rows]

    def votes(self, search: str) -> pl.DataFrame:
        """The whole history of a search: `id`, `voter`, `answer`, `note`, `time` (s since 1970), `current`."""
        current = VOTES.c.key.in_(_CURRENT).label("current")
        columns = (CANDIDATES.c.id, VOTES.c.voter, VOTES.c.answer, VOTES.c.note, VOTES.c.time, current)
        with self._database.reading() as connection:
            key = self._search_key(connection, search)
            query = sa.select(*columns).join(CANDIDATES, VOTES.c.candidate == CANDIDATES.c.key)
            rows = connection.execute(query.where(CANDIDATES.c.search == key).order_by(VOTES.c.key)).all()
        texts = dict.fromkeys(("id", "voter", "answer", "note"), pl.String)
        schema = {**texts, "time": pl.Float64, "current": pl.Boolean}
        return pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")

    def tally(self, search: str) -> pl.DataFrame:
        """Every candidate of a search and its current votes, in order of rank.

        Returns:
            `id`, `rank`, `score`, `spread`, `ra`, `dec` (deg), `image_link`, `turn`, `yes`, `no`, `unsure`.
        """
        latest = sa.select(VOTES.c.candidate, VOTES.c.answer).where(VOTES.c.key.in_(_CURRENT)).subquery()
        counts = [
            sa.func.coalesce(sa.func.sum(sa.case((latest.c.answer == answer, 1), else_=0)), 0).label(answer)
            for answer in ("yes", "no", "unsure")
        ]
        counted = sa.select(latest.c.candidate, *counts).group_by(latest.c.candidate).subquery()
        names = ("id", "rank", "score", "spread", "ra", "dec", "image_link", "turn")
        columns = [
            *(CANDIDATES.c[name] for name in names),
            *(sa.func.coalesce(counted.c[name], 0) for name in ("yes", "no", "unsure")),
        ]
        with self._database.reading() as connection:
            key = self._search_key(connection, search)
            query = sa.select(*columns).outerjoin(counted, counted.c.candidate == CANDIDATES.c.key)
            rows = connection.execute(query.where(CANDIDATES.c.search == key).order_by(CANDIDATES.c.rank)).all()
        floats = dict.fromkeys(("score", "spread", "ra", "dec"), pl.Float64)
        schema = {"id": pl.String, "rank": pl.Int64, **floats, "image_link": pl.String, "turn": pl.Float64}
        schema |= dict.fromkeys(("yes", "no", "unsure"), pl.Int64)
        return pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")

    def _search_key(self, connection: sa.Connection, name: str) -> int:
        key: int | None = connection.scalar(sa.select(SEARCHES.c.key).where(SEARCHES.c.name == name))
        if key is None:
            names = ", ".join(repr(one) for one in connection.scalars(sa.select(SEARCHES.c.name))) or "none"
            raise InputError(f"{self}: no search {name!r}; it has {names}")
        return key

    def _candidate_key(self, connection: sa.Connection, search: str, candidate_id: str) -> int:
        where = (CANDIDATES.c.search == self._search_key(connection, search), CANDIDATES.c.id == candidate_id)
        key: int | None = connection.scalar(sa.select(CANDIDATES.c.key).where(*where))
        if key is None:
            raise InputError(f"{self}: search {search!r} has no candidate {candidate_id!r}")
        return key


def _candidate(row: Any) -> Candidate:
    return Candidate(**{name: row[name] for name in Candidate.model_fields})
