"""Results are data: files are sound, pages show what they hold, and numbers of other weights are called former."""

import json
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))  # scripts, not a package

import results

ROOT = results.ROOT
FILES = sorted((ROOT / "results").glob("*.json"))
STEMS = [path.stem for path in FILES if path.stem != results.SUMMARY]
PAGES = sorted((ROOT / "docs" / "results").glob("*.md"))
OLD = "0" * 16


def measurement(**other: object) -> results.Measurement:
    return results.Measurement.model_validate(
        {
            "title": "A number.",
            "command": "galaxysd demo",
            "weights": OLD,
            "n": "3 galaxies",
            "interval": "95 % interval",
            "machine": "two cores",
            "values": {"a": {"b": [Decimal("0.50"), Decimal("0.4"), Decimal("0.6")]}},
            **other,
        }
    )


@pytest.mark.parametrize("stem", STEMS)
def test_a_file_is_sound_and_has_a_page(stem: str) -> None:
    assert results.results(stem).measurements
    page = (ROOT / "docs" / "results" / f"{stem}.md").read_text(encoding="utf-8")
    for key in results.results(stem).measurements:
        assert f"<!-- table: {stem}/{key} -->" in page, f"results/{stem}.json: no page shows {key}"


def test_every_results_page_has_a_file() -> None:
    assert [page.stem for page in PAGES] == sorted(STEMS)


@pytest.mark.parametrize("path", results.pages(), ids=lambda path: path.stem)
def test_a_page_is_as_its_results(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert results.render(text, path) == text, "run `make results-pages`"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_results_page_shows_no_number_that_its_file_does_not_hold(path: Path) -> None:
    held = results.numbers_of(path.stem)
    loose = [one for one in results.loose_numbers(path.read_text(encoding="utf-8")) if one.rstrip(" %") not in held]
    assert not loose, f"{path.name}: {loose}"


@pytest.mark.parametrize("name", ["README.md", "docs/explanation/limitations.md", "docs/index.md"])
def test_other_pages_measure_nothing_by_themselves(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8").replace("Python 3.11", "").replace("Apache License 2.0", "")
    loose = results.loose_numbers(text, whole=10_000)
    assert set(loose) <= {"95 %"}, f"{name}: {loose}"


def test_a_number_beside_the_markers_is_found() -> None:
    text = "It is .75 or 12 % of 1,234 in 2 ways <!-- value: a/b/c/d -->0.5<!-- end --> `9.99`\n```\n8.88\n```\n"
    assert results.loose_numbers(text) == [".75", "12 %", "1,234"]


def test_a_changed_number_is_not_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = results.Results(measurements={"m": measurement()})
    monkeypatch.setattr(results, "results", lambda stem: stored)
    monkeypatch.setattr(results, "shipped_weights", lambda: OLD)
    text = "It is <!-- result: f/m/a/b -->0.9<!-- end --> and <!-- value: f/m/a/b -->0.9<!-- end -->."
    assert results.MARKER.sub("", results.render(text, Path("p"))) == "It is  and ."
    assert "-->0.50 [0.4, 0.6]<!-- end -->" in results.render(text, Path("p"))
    with pytest.raises(SystemExit, match="no 'c'"):
        results.render("It is <!-- result: f/m/a/c --><!-- end -->", Path("p"))
    with pytest.raises(SystemExit, match="opens a line"):
        results.render("<!-- result: f/m/a/b --><!-- end -->", Path("p"))


@pytest.mark.parametrize(
    ("shipped", "weights", "said"),
    [
        (OLD, OLD, "which are the shipped ones"),
        ("1" * 16, OLD, "**Former weights** `0000000000000000`"),
        (OLD, "unknown", "**Former weights** of `mini`; which ones was not noted"),
        (OLD, None, "Sample: 3 galaxies"),
    ],
)
def test_a_table_says_whose_numbers_it_shows(
    monkeypatch: pytest.MonkeyPatch, shipped: str, weights: str | None, said: str
) -> None:
    stored = results.Results(measurements={"m": measurement(weights=weights)})
    monkeypatch.setattr(results, "results", lambda stem: stored)
    monkeypatch.setattr(results, "shipped_weights", lambda: shipped)
    table = results.render_table("f/m")
    assert said in table and "| a | 0.50 [0.4, 0.6] |" in table and "galaxysd demo" in table
    assert ("Former" in table) == (weights == "unknown" or (weights is not None and weights != shipped))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": {}}, "no values"),
        ({"values": {"a": {"b": None}}}, "say in `pending` why"),
        ({"pending": "later"}, "pending, but has values"),
        ({"interval": None}, "say in `interval` which"),
        ({"weights": "mini"}, "weights"),
        ({"values": {"a": {"b": [1, 3, 2]}}}, "lies above high"),
        ({"values": {"a": {"b": [1, 2]}}}, "expected"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_a_measurement_that_makes_no_sense_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        measurement(**change)


def test_a_slot_is_shown_as_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = results.Results(measurements={"m": measurement(values={"a": {"b": None}}, pending="in training.")})
    monkeypatch.setattr(results, "results", lambda stem: stored)
    table = results.render_table("f/m")
    assert "| a | not measured |" in table and "**Not measured yet:** in training." in table


def test_the_summary_has_six_rows_and_names_the_standing_of_each() -> None:
    table = results.render_summary(ROOT / "README.md").splitlines()[2:]
    assert len(table) == 6
    assert all(row.rsplit("|", 2)[1].strip() in ("shipped", "former", "not used") for row in table)


def test_files_keep_the_digits_of_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    stored = {"measurements": {"m": json.loads(measurement().model_dump_json())}}
    path.write_text(json.dumps(stored).replace('"0.50"', "0.50"))
    loaded = results.load(path)
    assert isinstance(loaded, results.Results)
    assert str(loaded.measurements["m"].values["a"]["b"]).startswith("0.50")
