"""The search benchmark: memory of a family of processes, and scores compared galaxy by galaxy."""

import sys
from pathlib import Path

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # scripts, not a package

import discovery


def test_memory_counts_children() -> None:
    child = "import time; x = b'1' * 150_000_000; time.sleep(0.8)"
    parent = f"import subprocess, sys; print('done'); subprocess.run([sys.executable, '-c', {child!r}])"
    _, small = discovery.run_family([sys.executable, "-c", "import time; time.sleep(0.5)"])
    text, large = discovery.run_family([sys.executable, "-c", parent])
    assert text == "done\n" and 130 < large - small < 220
    with pytest.raises(RuntimeError, match="exit code 3"):
        discovery.run_family([sys.executable, "-c", "raise SystemExit(3)"])


def test_scores_are_compared_by_galaxy(tmp_path: Path) -> None:
    def write(folder: str, rows: dict[str, float]) -> Path:
        (tmp_path / folder).mkdir()
        frame = pl.DataFrame({"id": list(rows), "score": list(rows.values())})
        frame.write_parquet(tmp_path / folder / "part-000000.parquet")
        return tmp_path / folder

    one = write("one", {"a": 0.5, "b": 0.25})
    assert discovery.largest_difference(one, write("same", {"b": 0.25, "a": 0.5})) == 0
    assert discovery.largest_difference(one, write("near", {"b": 0.25, "a": 0.625})) == 0.125
    with pytest.raises(ValueError, match="different galaxies"):
        discovery.largest_difference(one, write("other", {"a": 0.5, "c": 0.25}))


def test_estimates_follow_from_the_speed(capsys: pytest.CaptureFixture[str]) -> None:
    run = {"engine": "process", "images": 100, "seconds": 1.0, "peak_mb": 500.0, "per_second": 100.0}
    discovery.show(
        {
            "encoder": "galaxyemb",
            "runs": [run, run, run, {**run, "engine": "ray", "per_second": 150.0}],
            "largest_difference": 0.0,
            "hours": {name: n / 100 / 3600 for name, n in discovery.SURVEYS.items()},
        }
    )
    printed = capsys.readouterr().out
    assert "27.8 h" in printed and "1.50" in printed and "missed" not in printed
