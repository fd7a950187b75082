"""Ray gives the same scores as one process, also when a worker is killed on the way."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from galaxysd.data.framing import Framing
from galaxysd.search import survey as module
from galaxysd.search.score import Ranker, broken_images, scan_scores, score_survey
from galaxysd.search.survey import Survey


def judge_that_dies_once(marker: str) -> Ranker:
    """Brightness; the first worker that sees a galaxy kills itself."""

    def ranker(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
        return images.mean(axis=(1, 2, 3)) / 255, images.std(axis=(1, 2, 3)) / 255

    return ranker


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # Ray warns about its own code
def test_ray_scores_the_same_after_a_worker_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr(module, "CHUNK", 3)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # where workers find the ranker
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    (tmp_path / "images").mkdir()
    for number in range(10):
        Image.new("RGB", (8, 8), (20 * number, number, 0)).save(tmp_path / "images" / f"g{number}.png")
    (tmp_path / "images" / "g4.png").write_bytes(b"")
    survey = Survey.open(tmp_path / "images", framing=Framing(size=8))
    (tmp_path / "alive").touch()
    alone = score_survey(survey, judge_that_dies_once(str(tmp_path / "alive")), tmp_path / "process")
    ray = score_survey(survey, judge_that_dies_once(str(tmp_path / "died")), tmp_path / "ray", engine="ray", workers=1)
    assert (tmp_path / "died").is_file() and ray.broken == alone.broken == 1
    one, other = (scan_scores(tmp_path / name).collect() for name in ("process", "ray"))
    assert one["id"].to_list() == other["id"].to_list() and len(other) == 10
    for column in ("score", "spread"):
        assert np.allclose(one[column].fill_null(-1), other[column].fill_null(-1), atol=1e-5)
    assert broken_images(tmp_path / "ray")["id"].to_list() == ["g4"]
