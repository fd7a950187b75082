"""The benchmark of reports: stages are read, targets are for the largest report, no report is measured twice."""

import argparse
import json
import sys
from pathlib import Path

import pytest

from galaxysd.encoders.registry import PixelEncoder
from galaxysd.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # scripts, not a package

import measure
import report


class ToyDataset:
    """Images to embed."""

    def pixels(self, *, batch: int) -> "list[tuple[list[str], object]]":
        import numpy as np

        return iter([(["a"] * batch, np.zeros((batch, 16, 16, 3), np.uint8))])  # type: ignore[return-value]


def test_every_report_is_made_by_the_command_line_with_the_cache_filled_by_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[dict[str, str]] = []

    def run(command: list[str]) -> measure.Process:
        options = dict(zip(command[4::2], command[5::2], strict=True))
        commands.append(options)
        folder = Path(options["--out"])
        folder.mkdir(parents=True)
        lines = [{"stage": "dreams", "seconds": 10.0}, {"label": "other"}, {"stage": "scores", "seconds": 5.0}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return measure.Process(400.0 if len(commands) == 3 else 60.0, 900.0)

    monkeypatch.setattr(report, "run_process", run)
    monkeypatch.setattr(report, "open_datasets", lambda folders: [ToyDataset()])
    monkeypatch.setattr(report, "load_encoder", lambda name: PixelEncoder())
    options = argparse.Namespace(data=[Path("a")], out=tmp_path, model="mini", encoder="pixels", n=[1000, 250], seed=3)
    result = report.evaluate(options)
    assert [one["-n"] for one in commands] == ["250", "250", "1000", "1000"]
    for first, second in (commands[:2], commands[2:]):
        assert int(second["--steps"]) == int(first["--steps"]) + 1
        assert Path(first["--out"]).parent == Path(second["--out"]).parent  # which is where the cache lies
    assert commands[0]["--data"] == "a" and commands[0]["--seed"] == "3"
    assert next(iter(result["runs"].values()))["stages"] == {"dreams": 10.0, "scores": 5.0}
    rows = {row.what: row for row in report.rows_of(result)}
    assert rows["250 galaxies, nothing cached"].ok is None
    assert rows["1,000 galaxies, nothing cached"].ok is False and rows["1,000 galaxies, real galaxies cached"].ok
    report.show(result)
    assert "385.0" in capsys.readouterr().out  # start, data and page
    with pytest.raises(InputError, match="exists, so nothing could be measured anew"):
        report.evaluate(options)
