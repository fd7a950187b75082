"""What was computed is found again, by what it depends on; damage is told."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from galaxysd.errors import InputError
from galaxysd.evaluation.cache import Cache, images_hash


def test_a_result_is_computed_once_for_what_it_depends_on(tmp_path: Path) -> None:
    calls: list[int] = []

    def compute() -> np.ndarray:
        calls.append(1)
        return np.arange(3, dtype=np.float32)

    for part in ("a", "a", "b"):
        found = Cache(tmp_path).array("features", part, 1, compute=compute)
        assert found.dtype == np.float64 and found.tolist() == [0, 1, 2]
    assert len(calls) == 2
    tables = [
        Cache(tmp_path).table("measured", "a", compute=lambda value=value: pl.DataFrame({"x": [value]}))
        for value in (1, 2)
    ]
    assert [table["x"].to_list() for table in tables] == [[1], [1]]


def test_another_version_computes_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Cache(tmp_path).place("readers", "a")
    assert before == Cache(tmp_path).place("readers", "a") != Cache(tmp_path).place("readers", "b")
    monkeypatch.setattr("galaxysd.__version__", "other")
    assert Cache(tmp_path).place("readers", "a") != before


def test_a_failed_computation_leaves_nothing_and_damage_is_told(tmp_path: Path) -> None:
    def fail() -> np.ndarray:
        raise InputError("no")

    with pytest.raises(InputError, match=r"^no$"):
        Cache(tmp_path).array("features", "a", compute=fail)
    assert not list(tmp_path.rglob("*.npy"))
    Cache(tmp_path).place("features", "a").with_suffix(".npy").write_bytes(b"rubbish")
    Cache(tmp_path).place("measured", "a").with_suffix(".parquet").write_bytes(b"rubbish")
    with pytest.raises(InputError, match="delete it, it will be computed again"):
        Cache(tmp_path).array("features", "a", compute=fail)
    with pytest.raises(InputError, match="delete it, it will be computed again"):
        Cache(tmp_path).table("measured", "a", compute=pl.DataFrame)


def test_equal_pixels_in_equal_order_have_one_hash() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype(np.uint8)
    assert images_hash(images) == images_hash(np.asfortranarray(images))
    assert len({images_hash(one) for one in (images, images[::-1], images[:3], images.transpose(0, 2, 1, 3))}) == 4
