"""generation/generate.py and manifest.py: files, manifest, resuming, reproducing."""

import errno
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from PIL import Image
from tiny_model import save_tiny_model

import galaxysd
from galaxysd.data.decode import decode
from galaxysd.diffusion.folder import SamplingSettings
from galaxysd.diffusion.guidance import GuidanceSettings
from galaxysd.diffusion.pipeline import GalaxyPipeline, Pixels, Request
from galaxysd.errors import InputError
from galaxysd.generation import generate as module
from galaxysd.generation.generate import GenerateReport, generate
from galaxysd.generation.manifest import SCHEMA, read_manifest, regenerate
from galaxysd.generation.table import PromptTable

PROMPTS = ["sdss, spiral galaxy, {bar:1.5}", "efigi, merger", "", "smooth, {dust lane:0.5}"]


def run(
    pipeline: GalaxyPipeline, out: Path, prompts: list[str] = PROMPTS, n: int = 5, **options: Any
) -> GenerateReport:
    return generate(pipeline, PromptTable.of(prompts, n), out=out, model="tiny", **options)


def pixels(path: Path) -> Pixels:
    with Image.open(path) as picture:
        return np.asarray(picture)


def contents(folder: Path) -> dict[str, bytes]:
    """Every image file of a run."""
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.png"))}


@pytest.fixture(scope="module")
def folder(pipeline: GalaxyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in all formats."""
    out = tmp_path_factory.mktemp("runs") / "all"
    run(pipeline, out, formats=("png", "fits", "parquet"), seed=3)
    return out


def test_a_run_leaves_what_it_promises(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("images", "images-00000.parquet", "manifest.parquet", "sheet.png"),
        *("settings.yaml", "versions.json", "done.json"),
    }
    assert len(list((folder / "images").glob("*.png"))) == len(list((folder / "images").glob("*.fits"))) == 20


def test_the_manifest_says_how_each_galaxy_was_made(folder: Path, pipeline: GalaxyPipeline) -> None:
    rows = read_manifest(folder)
    assert len(rows) == 20 and list(rows[0]) == SCHEMA.names
    assert [row["seed"] for row in rows] == list(range(3, 23))
    assert [row["prompt"] for row in rows] == [prompt for prompt in PROMPTS for _ in range(5)]
    first = rows[0]
    assert first["caption"] == pipeline.caption(pipeline.understand(PROMPTS[0]))
    assert (first["survey"], first["steps"], first["sampler"], first["guidance"]) == ("sdss", 4, "dpm++2m", 1.5)
    assert (first["model"], first["model_hash"]) == ("tiny", pipeline.model_hash)
    assert first["galaxysd"] == galaxysd.__version__
    assert all((folder / row["file"]).is_file() for row in rows)


def test_every_row_alone_gives_the_pixels_of_its_file(folder: Path, pipeline: GalaxyPipeline) -> None:
    seen = set()
    for row in read_manifest(folder):
        again = regenerate(pipeline, row)
        assert np.array_equal(again, pixels(folder / row["file"])), row["id"]
        seen.add(again.tobytes())
    assert len(seen) == 20  # or the test above would hold for a model that ignores its input


def test_a_row_carries_every_setting_of_guidance(tmp_path: Path) -> None:
    values = {"scale": 2.5, "from_level": 0.1, "to_level": 0.6, "rarest": 3.0}
    assert set(values) == set(GuidanceSettings.model_fields)
    guided = GalaxyPipeline.from_pretrained(save_tiny_model(tmp_path / "m", guidance=GuidanceSettings(**values)))
    run(guided, tmp_path / "o", ["sdss, spiral galaxy, bar"], n=1)
    (row,) = read_manifest(tmp_path / "o")
    image = pixels(tmp_path / "o" / row["file"])
    assert np.array_equal(regenerate(guided, row), image)
    for column, name in {"guidance_to_level": "to_level", "guidance_rarest": "rarest"}.items():
        default = GuidanceSettings.model_fields[name].default
        assert not np.array_equal(regenerate(guided, row | {column: default}), image), column


def test_a_galaxy_does_not_depend_on_its_neighbours(folder: Path, pipeline: GalaxyPipeline, tmp_path: Path) -> None:
    run(pipeline, tmp_path / "one", [PROMPTS[1]], n=1, seed=3 + 5)
    assert np.array_equal(pixels(tmp_path / "one/images/000000-0000.png"), pixels(folder / "images/000001-0000.png"))


def test_all_formats_hold_the_same_pixels(folder: Path) -> None:
    table = pq.read_table(folder / "images-00000.parquet").to_pylist()
    assert [row["id"] for row in table] == [row["id"] for row in read_manifest(folder)]
    assert table[0]["prompt"] == PROMPTS[0] and table[0]["seed"] == 3
    for row in table[::7]:
        png = pixels(folder / f"images/{row['id']}.png")
        assert np.array_equal(decode(row["image"]["bytes"], row["id"]), png)
        cube = fits.getdata(folder / f"images/{row['id']}.fits")
        assert np.array_equal(np.rint(cube[:, ::-1] * 255).transpose(1, 2, 0), png)


def test_files_carry_their_provenance(folder: Path, pipeline: GalaxyPipeline) -> None:
    header = fits.getheader(folder / "images/000000-0001.fits")
    assert header["PROMPT"] == PROMPTS[0]
    assert (header["SEED"], header["SURVEY"], header["PIXSCALE"]) == (4, "sdss", 0.4)
    assert (header["MODHASH"], header["STEPS"]) == (pipeline.model_hash, 4)
    assert "PIXSCALE" not in fits.getheader(folder / "images/000001-0000.fits")  # efigi has no one scale
    with Image.open(folder / "images/000000-0001.png") as picture:
        text = picture.text  # type: ignore[attr-defined]
    assert (text["prompt"], text["seed"], text["model_hash"]) == (PROMPTS[0], "4", pipeline.model_hash)


def test_the_sheet_is_bounded(pipeline: GalaxyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, Pixels]] = []
    original = module.contact_sheet

    def spy(rows: list[tuple[str, Pixels]], **options: Any) -> Image.Image:
        shown.extend(rows)
        return original(rows, **options)

    monkeypatch.setattr(module, "contact_sheet", spy)
    run(pipeline, tmp_path / "o", ["bar"] * 23 + ["merger", "ring"], n=1)
    assert len(shown) == 24
    shown.clear()
    run(pipeline, tmp_path / "p", ["bar", "merger"], n=10)
    assert [(label, len(images)) for label, images in shown] == [("bar", 8), ("merger", 8)]
    for number, (_, images) in enumerate(shown):
        for index, image in enumerate(images):
            assert np.array_equal(image, pixels(tmp_path / f"p/images/{number:06d}-{index:04d}.png"))


def test_the_same_call_again_is_a_no_op(
    pipeline: GalaxyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(pipeline, tmp_path / "o")
    monkeypatch.setattr(pipeline, "dream", lambda *_: pytest.fail("nothing is left to dream"))
    second = run(pipeline, tmp_path / "o")
    assert second.already_done and not first.already_done
    assert second.model_dump(exclude={"already_done"}) == first.model_dump(exclude={"already_done"})


@pytest.mark.parametrize("formats", [("png",), ("png", "parquet")])
def test_an_interrupted_run_goes_on_to_the_identical_set(
    pipeline: GalaxyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, formats: tuple[str, ...]
) -> None:
    monkeypatch.setattr(module, "PART", 16)
    monkeypatch.setattr(module, "SHARD", 16)
    run(pipeline, tmp_path / "straight", n=12, formats=formats)
    original, batches = pipeline.dream, 0

    def interrupted(
        requests: Iterable[Request], settings: SamplingSettings
    ) -> Iterator[tuple[tuple[Request, ...], Pixels]]:
        nonlocal batches
        for batch in original(requests, settings):
            batches += 1
            if batches == 2:
                raise KeyboardInterrupt
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "dream", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(pipeline, tmp_path / "broken", n=12, formats=formats)
    assert not (tmp_path / "broken/manifest.parquet").exists()
    report = run(pipeline, tmp_path / "broken", n=12, formats=formats)
    assert report.resumed_at == 16
    assert contents(tmp_path / "broken") == contents(tmp_path / "straight")
    for name in ["images-00000.parquet", "images-00002.parquet"] if "parquet" in formats else []:
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    rows, expected = read_manifest(tmp_path / "broken"), read_manifest(tmp_path / "straight")
    assert [{**row, "time": None} for row in rows] == [{**row, "time": None} for row in expected]
    assert not list((tmp_path / "broken").rglob("*.tmp")) and not (tmp_path / "broken/parts").exists()


def test_a_full_disk_is_said_and_survived(
    pipeline: GalaxyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART", 16)
    original, written = module.write_png, 0

    def full(path: Path, image: Pixels, provenance: dict[str, Any]) -> None:
        nonlocal written
        written += 1
        if written > 18:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(path, image, provenance)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_png", full)
        with pytest.raises(InputError, match="the disk is full; what is finished is kept"):
            run(pipeline, tmp_path / "o", n=8)
    assert not (tmp_path / "o/manifest.parquet").exists()
    report = run(pipeline, tmp_path / "o", n=8)
    assert report.resumed_at == 16
    assert len(read_manifest(tmp_path / "o")) == 32


def test_other_content_is_refused(pipeline: GalaxyPipeline, tmp_path: Path) -> None:
    run(pipeline, tmp_path / "o", ["bar"], n=1)
    with pytest.raises(InputError, match=r"o: holds a run with other settings \(seed\)"):
        run(pipeline, tmp_path / "o", ["bar"], n=1, seed=1)
    with pytest.raises(InputError, match=r"prompts, requests"):
        run(pipeline, tmp_path / "o", ["ring"], n=1)
    other = tmp_path / "letters"
    other.mkdir()
    (other / "dear.txt").write_text("all that I have")
    with pytest.raises(InputError, match="letters: exists and is not a run"):
        run(pipeline, other)
    assert [path.name for path in other.iterdir()] == ["dear.txt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "ddpm"}, "sampler"),
        ({"steps": 0}, "steps"),
        ({"guidance": -1.0}, "guidance"),
        ({"guidance": float("nan")}, "guidance"),
        ({"seed": -1}, "seed must lie between"),
        ({"formats": ("gif",)}, "format 'gif' is not one of png, fits, parquet"),
        ({"formats": ()}, "no format is given"),
        ({"prompts": ["bar", "wibble"]}, "prompt 2: prompt: unknown word 'wibble'"),
    ],
)
def test_bad_settings_leave_nothing_behind(
    pipeline: GalaxyPipeline, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(pipeline, tmp_path / "o", **options)
    assert not (tmp_path / "o").exists()


def test_regenerate_refuses_what_it_cannot_repeat(folder: Path, pipeline: GalaxyPipeline, tmp_path: Path) -> None:
    row = read_manifest(folder)[0]
    other = GalaxyPipeline.from_pretrained(save_tiny_model(tmp_path / "other", seed=1))
    with pytest.raises(InputError, match="was made by model"):
        regenerate(other, row)
    with pytest.raises(InputError, match="'seed' is missing"):
        regenerate(pipeline, {name: value for name, value in row.items() if name != "seed"})
    with pytest.raises(InputError, match="not valid JSON"):
        regenerate(pipeline, row | {"morphology": "{"})
    with pytest.raises(InputError, match="steps"):
        regenerate(pipeline, row | {"steps": 0})


def test_read_manifest_refuses_other_files(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read as a manifest"):
        read_manifest(tmp_path)
    with pytest.raises(InputError, match="is not a manifest, column 'file' is missing"):
        read_manifest(folder / "images-00000.parquet")
