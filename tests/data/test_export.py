"""Export: pixels and provenance come back from PNG, FITS and Parquet, without a warning, and never half-written."""

import errno
import io
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from astropy.io import fits
from PIL import Image

from galaxysd.data.decode import decode
from galaxysd.data.export import parquet_images, write_fits, write_png
from galaxysd.errors import InputError
from galaxysd.io import replacing

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
PROMPT = "sdss, {spiral galaxy:1.2}, " + ", ".join(["2 spiral arms, loosely wound, dust lane"] * 6)
PROVENANCE = {
    "prompt": PROMPT,
    "seed": 7,
    "steps": 20,
    "guidance": 1.5,
    "model_hash": "0123456789abcdef",
    "survey": "sdss",
    "pixel_scale": 0.396,
    "sampler_settings": "Heun's 'method'",
    "software_version_of_the_generator": "0.1.0",
    "ema": True,
    "object": None,
}


def test_png(tmp_path: Path) -> None:
    write_png(tmp_path / "new" / "a.png", PIXELS, {**PROVENANCE, "observer": "Zwicky é"})
    data = (tmp_path / "new" / "a.png").read_bytes()
    np.testing.assert_array_equal(decode(data, "a.png"), PIXELS)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.text["prompt"] == PROMPT
        assert image.text["seed"] == "7"
        assert image.text["observer"] == "Zwicky é"
        assert "object" not in image.text


@pytest.mark.parametrize("kind", ["uint8", "float"])
def test_fits(tmp_path: Path, kind: str) -> None:
    image = (
        PIXELS if kind == "uint8" else PIXELS.transpose(2, 0, 1).astype(np.float32) / np.float32(127.5) - np.float32(1)
    )
    write_fits(tmp_path / "a.fits", image, PROVENANCE)
    with fits.open(tmp_path / "a.fits") as file:
        file.verify("exception")
        header, cube = file[0].header, file[0].data
        assert cube.dtype == np.dtype(">f4")
        assert cube.shape == (3, 16, 16)
        np.testing.assert_allclose(cube[:, ::-1].transpose(1, 2, 0) * 255, PIXELS, atol=1e-3)
        assert header["PROMPT"] == PROMPT
        assert (header["SEED"], header["MODHASH"], header["SURVEY"]) == (7, "0123456789abcdef", "sdss")
        assert header["PIXSCALE"] == pytest.approx(0.396)
        assert header["SAMPLER_SETTINGS"] == "Heun's 'method'"
        assert header["SOFTWARE_VERSION_OF_THE_GENERATOR"] == "0.1.0"
        assert header["EMA"] is True
        assert "OBJECT" not in header
    decoded = decode((tmp_path / "a.fits").read_bytes(), "a.fits")
    np.testing.assert_array_equal(decoded, PIXELS)  # our own files are not stretched a second time


def test_fits_long_text_under_a_long_name(tmp_path: Path) -> None:
    text = "é\n" + "a long text, " * 20 + "end"
    write_fits(tmp_path / "a.fits", PIXELS, {"negative_prompt": text})
    with fits.open(tmp_path / "a.fits") as file:
        assert file[0].header["NEGATIVE_PROMPT"].encode("ascii").decode("unicode_escape") == text


def test_fits_refuses_what_a_header_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="guidance"):
        write_fits(tmp_path / "a.fits", PIXELS, {"guidance": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_parquet_rows(tmp_path: Path) -> None:
    columns = [pa.field("prompt", pa.string()), pa.field("seed", pa.int64()), pa.field("guidance", pa.float64())]
    with parquet_images(tmp_path / "a.parquet", columns) as file:
        for start in (0, 2):
            rows = [{"prompt": "edge-on", "seed": start + index, "guidance": None} for index in range(2)]
            file.write([str(start), str(start + 1)], np.stack([PIXELS, 255 - PIXELS]), rows)
        assert not (tmp_path / "a.parquet").exists()
    table = pl.read_parquet(tmp_path / "a.parquet")
    assert table["id"].to_list() == ["0", "1", "2", "3"]
    assert table["seed"].to_list() == [0, 1, 2, 3]
    assert table["guidance"].null_count() == 4
    np.testing.assert_array_equal(decode(table["image"][3]["bytes"], "3"), 255 - PIXELS)


def test_failure_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("old")
    with pytest.raises(ValueError), parquet_images(tmp_path / "a.parquet") as file:
        file.write(["a", "b"], [PIXELS], None)
    assert (tmp_path / "a.parquet").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_disk_full_and_unwritable_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.png: the disk is full"), replacing(tmp_path / "a.png") as partial:
        partial.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        write_png(tmp_path / "file" / "a.png", PIXELS, {})
