"""The store of votes: nothing is lost, whoever writes and whatever breaks; SQLite and PostgreSQL alike."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from toy_search import SEARCH, candidates

from galaxysd.errors import InputError
from galaxysd.vetting.store import VettingStore, stratum, turn

# Casts votes and says so after each: what it has said must be in the store.
WRITER = """
import sys
from galaxysd.vetting.store import VettingStore
place, voter, count = sys.argv[1:]
with VettingStore.open(place) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(count)):
        galaxy = f"g{number % 20 + 1:04d}"
        store.cast_vote("lanes", galaxy, voter, ("yes", "no")[number % 2], str(number))
        print(number, flush=True)
"""


def writer(place: str, voter: str, count: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, place, voter, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_two_writers_at_once_lose_nothing(place: str) -> None:
    with VettingStore.open(place) as store:
        store.add_candidates(SEARCH, candidates(20))
        writers = [writer(place, f"voter {number}", 40) for number in range(2)]
        for process in writers:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        for process in writers:
            go(process)
        for process in writers:
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
            assert out.split() == [str(number) for number in range(40)]
        history = store.votes("lanes")
        assert history.height == 80
        for number in range(2):
            own = history.filter(voter=f"voter {number}")
            assert own["note"].to_list() == [str(vote) for vote in range(40)]  # each once, in order
            assert own.filter("current")["note"].to_list() == [str(vote) for vote in range(20, 40)]
        assert store.tally("lanes").select("yes", "no", "unsure").sum().row(0) == (20, 20, 0)


def test_a_writer_killed_in_the_middle_loses_no_confirmed_vote(place: str) -> None:
    with VettingStore.open(place) as store:
        store.add_candidates(SEARCH, candidates(20))
    process = writer(place, "doomed", 100_000)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    go(process)
    confirmed = [int(process.stdout.readline()) for _ in range(25)]
    os.kill(process.pid, signal.SIGKILL)
    confirmed += [int(line) for line in process.communicate(timeout=60)[0].split()]
    with VettingStore.open(place) as store:
        notes = [int(note) for note in store.votes("lanes")["note"]]
        assert notes == list(range(len(notes)))  # whole votes only
        assert len(confirmed) <= len(notes) <= len(confirmed) + 1  # one may be saved and not yet confirmed
        store.cast_vote("lanes", "g0001", "another", "yes")  # no lock is left behind


def test_many_may_make_the_same_store(place: str) -> None:
    code = "import sys; from galaxysd.vetting.store import VettingStore; VettingStore.open(sys.argv[1]).close()"
    makers = [subprocess.Popen([sys.executable, "-c", code, place], stderr=subprocess.PIPE) for _ in range(2)]
    for process in makers:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
    with VettingStore.open(place) as store:
        assert store.searches() == []


def test_the_latest_answer_counts_and_the_history_stays(place: str) -> None:
    with VettingStore.open(place) as store:
        store.add_candidates(SEARCH, candidates(3))
        store.cast_vote("lanes", "g0002", "ada", "yes", " a lane ")
        store.cast_vote("lanes", "g0002", "ben", "unsure")
        store.cast_vote("lanes", "g0002", "ada", "no")
        assert store.votes("lanes").select("voter", "answer", "note", "current").rows() == [
            ("ada", "yes", "a lane", False),
            ("ben", "unsure", "", True),
            ("ada", "no", "", True),
        ]
        assert store.tally("lanes").filter(id="g0002").select("yes", "no", "unsure").rows() == [(0, 1, 1)]
        assert store.tally("lanes").filter(id="g0001").select("yes", "no", "unsure").rows() == [(0, 0, 0)]


def test_candidates_come_back_as_they_went_in(place: str) -> None:
    put = candidates(4, images=True)
    with VettingStore.open(place) as store:
        assert store.add_candidates(SEARCH, put).added == 4
        again = store.add_candidates(SEARCH, [*put, *candidates(6)[4:]])
        assert (again.added, again.known) == (2, 4)
        assert [store.candidate("lanes", one.id) for one in put] == put
        assert store.search("lanes") == SEARCH


def test_everyone_is_asked_about_everything_once(place: str) -> None:
    with VettingStore.open(place) as store:
        store.add_candidates(SEARCH, candidates(5))
        seen = []
        while (one := store.next_to_vet("lanes", "ada")) is not None:
            seen.append(one.rank)
            store.cast_vote("lanes", one.id, "ada", "yes")
        assert seen == [1, 2, 3, 4, 5]
        other = store.next_to_vet("lanes", "ben")
        assert other is not None and other.rank == 1
        assert store.next_to_vet("lanes", "ben", enough=1) is None
        uncertain = store.next_to_vet("lanes", "ben", order="uncertain")
        assert uncertain is not None and uncertain.rank == 5  # the largest spread


def test_samples_are_the_same_for_everyone_and_reach_every_stratum(tmp_path: Path) -> None:
    with VettingStore.open(tmp_path / "votes.db") as store:
        store.add_candidates(SEARCH, candidates(400))
        orders = []
        for voter in ("ada", "ben"):
            ranks = []
            for _ in range(24):
                one = store.next_to_vet("lanes", voter, order="sample")
                assert one is not None
                ranks.append(one.rank)
                store.cast_vote("lanes", one.id, voter, "no")
            orders.append(ranks)
        assert orders[0] == orders[1] != sorted(orders[0])
        drawn = {stratum(rank): sum(stratum(one) == stratum(rank) for one in orders[0]) for rank in orders[0]}
        assert set(drawn) == {(1, 50), (51, 100), (101, 200), (201, 400)} and min(drawn.values()) >= 2


@given(st.integers(1, 10**6))
def test_strata_hold_their_ranks_and_do_not_overlap(rank: int) -> None:
    first, last = stratum(rank)
    assert first <= rank <= last and stratum(first) == stratum(last) == (first, last)
    assert stratum(last + 1)[0] == last + 1
    assert 0 <= turn("a search", str(rank), rank) < last - first + 1


def test_notes_are_kept_beside_those_of_votes(store: VettingStore) -> None:
    store.cast_vote("lanes", "g0001", "ada", "yes", "forgotten")
    store.cast_vote("lanes", "g0001", "ada", "yes", "a lane")
    store.add_note("lanes", "g0002", "ben", "<b>star</b>")
    assert [(one.id, one.author, one.text) for one in store.notes("lanes")] == [
        ("g0001", "ada", "a lane"),
        ("g0002", "ben", "<b>star</b>"),
    ]
    assert [one.id for one in store.notes("lanes", "g0002")] == ["g0002"]


def test_wrong_requests_name_what_is_there(store: VettingStore) -> None:
    with pytest.raises(InputError, match="no search 'arcs'; it has 'lanes'"):
        store.cast_vote("arcs", "g0001", "ada", "yes")
    with pytest.raises(InputError, match="has no candidate 'g9999'"):
        store.cast_vote("lanes", "g9999", "ada", "yes")
    with pytest.raises(InputError, match=r"answer: .*'yes', 'no' or 'unsure'"):
        store.cast_vote("lanes", "g0001", "ada", "perhaps")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="voter"):
        store.cast_vote("lanes", "g0001", " ", "yes")
    with pytest.raises(InputError, match=r"note: .*printed"):
        store.cast_vote("lanes", "g0001", "ada", "yes", "nul \0 byte")
    with pytest.raises(InputError, match=r"note: .*unicode"):
        store.cast_vote("lanes", "g0001", "ada", "yes", "half \ud800")
    with pytest.raises(InputError, match="note"):
        store.cast_vote("lanes", "g0001", "ada", "yes", "x" * 3000)
    with pytest.raises(InputError, match="expected one of rank, sample, uncertain"):
        store.next_to_vet("lanes", "ada", order="best")  # type: ignore[arg-type]
    assert store.votes("lanes").is_empty()


def test_a_search_is_never_mixed_with_another(place: str) -> None:
    put = candidates(3)
    with VettingStore.open(place) as store:
        store.add_candidates(SEARCH, put)
        with pytest.raises(InputError, match="another model hash; give this one a name of its own"):
            store.add_candidates(SEARCH.model_copy(update={"model_hash": "other"}), put)
        with pytest.raises(InputError, match="'g0002' with another rank or score"):
            store.add_candidates(SEARCH, [put[1].model_copy(update={"score": 0.9})])
        with pytest.raises(InputError, match="rank 2 of 'lanes' is galaxy 'g0002'"):
            store.add_candidates(SEARCH, [candidates(4)[3], put[1].model_copy(update={"id": "new"})])
        with pytest.raises(InputError, match="rank 2 is there 2 times"):
            store.add_candidates(SEARCH, [put[1], put[1].model_copy(update={"id": "new"})])
        assert store.tally("lanes").height == 3  # all or none


def test_a_locked_store_says_so_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "votes.db"
    with VettingStore.open(path, wait=0.2) as store:
        store.add_candidates(SEARCH, candidates(2))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(InputError, match=r"votes.db: locked by another program for over 0.2 s; nothing was saved"):
            store.cast_vote("lanes", "g0001", "ada", "yes")
        assert time.monotonic() - began >= 0.2
        assert store.tally("lanes").height == 2  # reading goes on
        other.execute("ROLLBACK")
        other.close()
        store.cast_vote("lanes", "g0001", "ada", "yes")
        assert store.votes("lanes").height == 1


def test_a_locked_table_of_postgresql_says_so(postgres: str) -> None:
    with VettingStore.open(postgres, wait=0.3) as store:
        store.add_candidates(SEARCH, candidates(2))
        other = sa.create_engine(sa.make_url(postgres).set(drivername="postgresql+psycopg"))
        with other.begin() as connection:
            connection.execute(sa.text("LOCK TABLE discovery_votes IN EXCLUSIVE MODE"))
            with pytest.raises(InputError, match=r"locked by another program for over 0.3 s"):
                store.cast_vote("lanes", "g0001", "ada", "yes")
        store.cast_vote("lanes", "g0001", "ada", "yes")
        assert store.votes("lanes").height == 1
        from galaxysd.vetting.database import METADATA

        METADATA.drop_all(other)
        other.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:hush%20hush@127.0.0.1:1/votes",
        "postgresql://ada@127.0.0.1:1/votes?password=hush%20hush",
        "postgresql://ada:hush hush@[/votes",
        "postgresql://ada:hush hush@127.0.0.1:port/votes",
        "mysql://ada:hush hush@127.0.0.1/votes",
    ],
)
def test_an_unreachable_database_is_one_line_without_secrets(url: str) -> None:
    with pytest.raises(InputError) as error:
        VettingStore.open(url)
    text = str(error.value)
    assert "hush" not in text and "\n" not in text


def test_what_is_not_a_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear astronomer, " * 100)
    with pytest.raises(InputError, match=r"letter.txt: cannot be used \(file is not a database\)"):
        VettingStore.open(path)
    assert path.read_text().startswith("Dear")
    with pytest.raises(InputError, match="is a folder"):
        VettingStore.open(tmp_path)
    with pytest.raises(InputError, match="cannot be made"):
        VettingStore.open(path / "inside" / "votes.db")
    VettingStore.open(tmp_path / "votes.db").close()
    with sqlite3.connect(tmp_path / "votes.db") as later:
        later.execute("UPDATE discovery_format SET version = 99")
    later.close()
    with pytest.raises(InputError, match="format 99"):
        VettingStore.open(tmp_path / "votes.db")


def test_every_commit_of_sqlite_reaches_the_disk_and_keys_are_checked(store: VettingStore) -> None:
    with store._database.reading() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
        assert found == ["wal", 2]
    with pytest.raises(InputError), store._database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO discovery_votes (candidate, voter, answer, note, time) VALUES (999, 'a', 'yes', '', 0)"
        )
