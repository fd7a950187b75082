"""Results are data: measured numbers live in `results/*.json`, and pages take them from there.

In: `results/*.json` and Markdown pages with markers. Out: the same pages with the text between the markers made anew.

    <!-- table: encoder/probe -->          a table with what is known about its numbers
    <!-- result: encoder/probe/macro/pixels -->    one number with its interval, inside a sentence
    <!-- value: encoder/probe/macro/pixels -->     the number alone
    <!-- summary -->                       the table of the README (results/summary.json)

Each marker is closed by `<!-- end -->`. `python tools/results.py` rewrites the pages; `--check` only compares.
"""

import argparse
import json
import re
import sys
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/results/*.md", "docs/explanation/limitations.md")
SUMMARY = "summary"

MARKER = re.compile(r"<!-- (table|result|value|summary)(?:: ([^\n]+?))? -->(.*?)<!-- end -->", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?: ?%)?")

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Hash = Annotated[str, StringConstraints(pattern="^([0-9a-f]{16}|unknown)$")]
Number = Annotated[Decimal, Field(allow_inf_nan=False)]


class Record(BaseModel):
    """A closed, frozen record."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Value(Record):
    """One measured number.

    Attributes:
        value: as measured; its digits are shown as they are written.
        low, high: ends of the interval, both or none.
    """

    value: Number
    low: Number | None = None
    high: Number | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, given: object) -> object:
        if isinstance(given, list):
            if len(given) != 3:
                raise ValueError("expected [value, low, high]")
            return dict(zip(("value", "low", "high"), given, strict=True))
        return given if isinstance(given, dict) else {"value": given}

    @model_validator(mode="after")
    def _interval(self) -> "Value":
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has two ends")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low} lies above high {self.high}")
        return self

    @property
    def number(self) -> str:
        """The number alone, 12,345.6."""
        return f"{self.value:,}"

    def __str__(self) -> str:
        return self.number if self.low is None else f"{self.number} [{self.low:,}, {self.high:,}]"


class Measurement(Record):
    """A table of numbers that one command measured.

    Attributes:
        title: what was measured, a full sentence.
        command: what measured it.
        weights: hash of the generator's weights, `unknown` where nobody noted it; null where no generator took part.
        n: how many galaxies or repetitions, in words.
        seeds: of the repetitions.
        interval: what the brackets hold; null where there are none.
        machine: class of machine.
        rows: what the rows are.
        values: row -> column -> number; null is "not measured".
        pending: why nothing is measured yet; then all values are null.
        note: what else one must know.
    """

    title: Text
    command: Text
    weights: Hash | None
    n: Text
    seeds: tuple[int, ...] = ()
    interval: Text | None
    machine: Text
    rows: str = ""
    values: dict[str, dict[str, Value | None]]
    pending: Text | None = None
    note: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "Measurement":
        cells = [cell for row in self.values.values() for cell in row.values()]
        if not cells:
            raise ValueError("no values; a number that is not measured yet is null")
        if self.pending is not None and any(cell is not None for cell in cells):
            raise ValueError("pending, but has values")
        if self.pending is None and all(cell is None for cell in cells):
            raise ValueError("no value at all; say in `pending` why")
        if self.interval is None and any(cell is not None and cell.low is not None for cell in cells):
            raise ValueError("values have intervals; say in `interval` which")
        return self


class Results(Record):
    """One file of `results/`."""

    measurements: dict[str, Measurement]


class SummaryRow(Record):
    """A row of the table in the README: two references FILE/MEASUREMENT/ROW/COLUMN and their words."""

    question: Text
    result: Text
    unit: str = ""
    compare: Text
    compare_label: Text
    page: Text


class Summary(Record):
    """`results/summary.json`."""

    rows: tuple[SummaryRow, ...]


def load(path: Path, kind: type[Record] = Results) -> Record:
    """Read a file of results; the digits of its numbers are kept.

    Raises:
        SystemExit: the file does not hold what it must.
    """
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal, parse_int=_int))
    except (ValidationError, json.JSONDecodeError) as error:
        raise SystemExit(f"{path}: {error}") from None


def _int(text: str) -> int:
    return int(text)


@cache
def results(stem: str, root: Path = ROOT) -> Results:
    """The results of one file, by its stem."""
    path = root / "results" / f"{stem}.json"
    if not path.is_file():
        raise SystemExit(f"{path}: no such file of results")
    loaded = load(path)
    assert isinstance(loaded, Results)
    return loaded


@cache
def shipped_weights() -> str:
    """Hash of the weights of `mini` in this checkout."""
    from galaxysd import GalaxyPipeline

    return GalaxyPipeline.from_pretrained("mini").model_hash


def find(reference: str) -> tuple[Measurement, Value]:
    """The measurement and the number behind FILE/MEASUREMENT/ROW/COLUMN.

    Raises:
        SystemExit: there is none.
    """
    stem, key, row, column = _split(reference, 4)
    try:
        measurement = results(stem).measurements[key]
        value = measurement.values[row][column]
    except KeyError as error:
        raise SystemExit(f"{reference}: results/{stem}.json has no {error}") from None
    if value is None:
        raise SystemExit(f"{reference}: not measured yet")
    return measurement, value


def _split(reference: str, parts: int) -> list[str]:
    found = reference.split("/")
    if len(found) != parts:
        raise SystemExit(f"{reference!r}: expected {parts} names with / between them")
    return found


def standing(weights: str | None) -> Literal["none", "shipped", "former"]:
    """What a hash is to the weights in this checkout."""
    if weights is None:
        return "none"
    return "shipped" if weights == shipped_weights() else "former"


def render_table(reference: str) -> str:
    """A measurement as a Markdown table, with a line on where its numbers are from and the command."""
    stem, key = _split(reference, 2)
    if key not in results(stem).measurements:
        raise SystemExit(f"{reference}: results/{stem}.json has no {key!r}")
    one = results(stem).measurements[key]
    columns = list(dict.fromkeys(column for row in one.values.values() for column in row))
    lines = [f"| {one.rows} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, row in one.values.items():
        cells = ["not measured" if row.get(column, "") is None else str(row.get(column, "")) for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return f"**{one.title}**\n\n" + "\n".join(lines) + "\n\n" + _origin(one)


def _origin(one: Measurement) -> str:
    state = standing(one.weights)
    said = []
    if one.pending is not None:
        said.append(f"**Not measured yet:** {one.pending}")
    elif state == "shipped":
        said.append(f"Weights `{one.weights}` of `mini`, which are the shipped ones.")
    elif one.weights == "unknown":
        said.append("**Former weights** of `mini`; which ones was not noted.")
    elif state == "former":
        said.append(f"**Former weights** `{one.weights}` of `mini`, not the shipped ones.")
    said.append(f"Sample: {one.n}.")
    if one.seeds:
        said.append(f"Seeds: {', '.join(str(seed) for seed in one.seeds)}.")
    if one.interval is not None:
        said.append(f"Brackets: {one.interval}.")
    said.append(f"Machine: {one.machine}.")
    if one.note:
        said.append(one.note)
    return f"{' '.join(said)}\n\n```text\n{one.command}\n```"


def render_summary(from_page: Path) -> str:
    """The table of the README."""
    summary = load(ROOT / "results" / f"{SUMMARY}.json", Summary)
    assert isinstance(summary, Summary)
    lines = ["| Question | Result | For comparison | Weights of `mini` |", "|---|---|---|---|"]
    for row in summary.rows:
        measurement, value = find(row.result)
        _, other = find(row.compare)
        if not (ROOT / row.page).is_file():
            raise SystemExit(f"results/{SUMMARY}.json: no page {row.page}")
        state = {"none": "not used", "shipped": "shipped", "former": "former"}[standing(measurement.weights)]
        unit = f" {row.unit}" if row.unit else ""
        lines.append(f"| [{row.question}]({row.page}) | {value}{unit} | {row.compare_label}: {other}{unit} | {state} |")
    return "\n".join(lines)


def render(text: str, page: Path) -> str:
    """A page with everything between its markers made anew.

    Raises:
        SystemExit: a marker refers to nothing, or a number would open a line (Markdown would take it for HTML).
    """

    def replace(match: re.Match[str]) -> str:
        kind, reference = match.group(1), match.group(2) or ""
        opened = f"<!-- {kind}{': ' + reference if reference else ''} -->"
        if kind in ("table", "summary"):
            body = render_table(reference) if kind == "table" else render_summary(page)
            return f"{opened}\n\n{body}\n\n<!-- end -->"
        if match.start() == 0 or text[match.start() - 1] == "\n":
            raise SystemExit(f"{page}: {opened} opens a line; let a word stand before it")
        _, value = find(reference)
        return f"{opened}{value if kind == 'result' else value.number}<!-- end -->"

    return MARKER.sub(replace, text)


def pages() -> list[Path]:
    """Every page that may hold markers."""
    return [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]


def numbers_of(stem: str) -> set[str]:
    """Every number that a file of results holds, as pages write it."""
    found: set[str] = set()
    for one in results(stem).measurements.values():
        cells = [cell for row in one.values.values() for cell in row.values() if cell is not None]
        found |= {f"{number:,}" for cell in cells for number in (cell.value, cell.low, cell.high) if number is not None}
        words = [one.title, one.n, one.note, *one.values, *(column for row in one.values.values() for column in row)]
        found |= {match.group().removesuffix("%").strip() for word in words for match in NUMBER.finditer(word)}
    return found


def loose_numbers(text: str, *, whole: int = 100) -> list[str]:
    """Numbers that a page states outside markers, code and links: with decimals, percent, or of at least `whole`."""
    text = MARKER.sub(" ", text)
    text = re.sub(r"```.*?```", " ", text, flags=re.DOTALL)
    text = re.sub(r"`[^`]*`|\]\([^)]*\)|<!--.*?-->", " ", text, flags=re.DOTALL)
    found = [match.group() for match in NUMBER.finditer(text)]
    return [one for one in found if "." in one or "%" in one or abs(int(one.replace(",", "") or 0)) >= whole]


def main() -> None:
    """Rewrite the pages, or say which are not as their results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a page is not up to date")
    check = parser.parse_args().check
    stale = []
    for path in pages():
        before = path.read_text(encoding="utf-8")
        after = render(before, path)
        if after != before:
            stale.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(after, encoding="utf-8")
    if check and stale:
        sys.exit(f"not as their results, run `make results-pages`: {', '.join(stale)}")
    print(f"{'rewritten' if stale else 'up to date'}: {', '.join(stale) or f'{len(pages())} pages'}")


if __name__ == "__main__":
    main()
