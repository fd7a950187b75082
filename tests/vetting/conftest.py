"""A private PostgreSQL server and stores of votes."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from toy_search import SEARCH, candidates

from galaxysd.vetting.database import METADATA
from galaxysd.vetting.store import VettingStore


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of a private PostgreSQL server on a unix socket; the test skips where its programs are not installed."""
    initdb, server = shutil.which("initdb"), shutil.which("postgres")
    if initdb is None or server is None:
        pytest.skip("initdb and postgres are not on this machine's PATH")
    user: str | None = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = next((name for name in ("postgres", "nobody") if name in names), None)
        if user is None:
            pytest.skip("PostgreSQL does not run as root, and there is no other user to run it")
    home = Path(tempfile.mkdtemp(prefix="pg-"))  # not tmp_path: its path is too long for a socket, and not for others
    account = {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
    try:
        if user is not None:
            shutil.chown(home, user)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": home}
        data = home / "data"
        subprocess.run(
            [initdb, "-D", str(data), "-U", "vetter", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-locale"],
            check=True,
            **quiet,
            **account,
        )
        process = subprocess.Popen([server, "-D", str(data), "-k", str(home), "-h", ""], **quiet, **account)
        try:
            _wait_for(home / ".s.PGSQL.5432", process)
            yield f"postgresql://vetter@/postgres?host={home}"
        finally:
            process.send_signal(signal.SIGQUIT)  # at once, there is nothing to keep
            process.wait(timeout=60)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _wait_for(socket: Path, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        assert process.poll() is None, "PostgreSQL did not start"
        try:
            psycopg.connect(host=str(socket.parent), user="vetter", dbname="postgres").close()
            return
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise AssertionError("PostgreSQL did not answer")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store's place, of either kind."""
    if request.param == "sqlite":
        yield str(tmp_path / "vetting.db")
        return
    url = request.getfixturevalue("postgres")
    yield url
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    METADATA.drop_all(engine)
    engine.dispose()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VettingStore]:
    """An SQLite store with 12 candidates that have images."""
    with VettingStore.open(tmp_path / "vetting.db") as opened:
        opened.add_candidates(SEARCH, candidates(12, images=True))
        yield opened


@pytest.fixture
def vote() -> Callable[..., None]:
    """Cast votes: `vote(store, galaxy, yes=2, no=1)`."""

    def cast(opened: VettingStore, galaxy: str, *, yes: int = 0, no: int = 0, unsure: int = 0) -> None:
        answers = ["yes"] * yes + ["no"] * no + ["unsure"] * unsure
        for number, answer in enumerate(answers):
            opened.cast_vote(SEARCH.name, galaxy, f"voter {number}", answer)

    return cast
