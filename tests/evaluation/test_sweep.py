"""The sweep: all settings and real galaxies on the same requests; generated galaxies are taken up, nothing is made
twice.
"""

from pathlib import Path

import pytest

from galaxysd.encoders.registry import load_encoder
from galaxysd.errors import InputError
from galaxysd.evaluation.evaluate import EvaluationSettings
from galaxysd.evaluation.reader import ReaderSettings
from galaxysd.evaluation.sweep import Sweep, SweepSettings, front, sweep

READER = ReaderSettings(readers=1, widths=(16, 16), images=128)
SETTINGS = EvaluationSettings(n=16, readers=READER, school=READER)
GRID = SweepSettings(n=12, guidance=(1.0, 3.0), to_level=(1.0,), steps=(1, 4))


def run(places: dict[str, Path], out: Path, grid: SweepSettings = GRID) -> Sweep:
    return sweep(
        [places["data"]],
        out,
        model=places["model"],
        encoder=load_encoder("pixels"),
        settings=SETTINGS,
        grid=grid,
        cache=places["cache"],
    )


def test_the_front_holds_real_galaxies_the_grid_and_the_model_s_own_settings(
    places: dict[str, Path], tmp_path: Path
) -> None:
    found = run(places, tmp_path / "sweep")
    real, *tried = found.points
    assert real.sampling is None and found.n == 12
    settings = [(one.sampling.guidance.scale, one.sampling.steps) for one in tried if one.sampling]
    assert settings[:-1] == [(1.0, 1), (1.0, 4), (3.0, 1), (3.0, 4)]
    assert [one.own for one in tried] == [False] * 4 + [True] and tried[-1].label.endswith("(own)")
    assert real.diversity.value > max(one.diversity.value for one in tried)  # a random network draws no galaxy
    assert real.kernel.value < min(one.kernel.value for one in tried)
    assert len({one.kernel.value for one in tried}) == 5
    assert front(found).startswith(b"\x89PNG")
    dreams = {path: path.stat().st_mtime_ns for path in (tmp_path / "sweep").glob("dreamed-*.npy")}
    (tmp_path / "sweep" / "done.json").unlink()
    again = run(places, tmp_path / "sweep")
    assert [one.model_copy(update={"seconds": None}) for one in found.points] == list(again.points)
    assert len(dreams) == 5 and dreams == {path: path.stat().st_mtime_ns for path in dreams}
    assert Sweep.read(tmp_path / "sweep" / "sweep.json") == again == run(places, tmp_path / "sweep")


def test_the_highest_guided_level_is_part_of_the_grid(places: dict[str, Path], tmp_path: Path) -> None:
    grid = GRID.model_copy(update={"guidance": (3.0,), "to_level": (0.5, 1.0), "steps": (4,)})
    _, low, high, _ = run(places, tmp_path / "sweep", grid).points
    assert (low.label, high.label) == ("3 / 0.5 / 4", "3 / 1 / 4")
    assert low.kernel != high.kernel


def test_another_grid_in_the_same_folder_and_wild_settings_are_refused(places: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="guidance"):
        run(places, tmp_path / "wild", GRID.model_copy(update={"guidance": (-1.0,)}))
    with pytest.raises(InputError, match="to_level"):
        run(places, tmp_path / "wild", GRID.model_copy(update={"to_level": (1.5,)}))
    assert not (tmp_path / "wild").exists()
