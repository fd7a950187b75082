"""Which galaxies to use: well-sampled and clean cuts, coarse classes, a target mix, rare extras, withheld combinations.

Pure functions: a `Catalog` goes in, a Boolean series or a smaller `Catalog` comes out. Cuts on how people got to a
question use weighted fractions; what a galaxy *is* uses the debiased ones where the source published them (Willett et
al. 2013 define it so).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from galaxysd.catalog.catalog import Catalog, first_line
from galaxysd.catalog.tree import Question
from galaxysd.errors import InputError

COARSE_CLASSES = (
    "round",
    "in_between",
    "cigar",
    "edge_on",
    "barred_spiral",
    "unbarred_spiral",
    "spiral",  # nobody was asked about the bar
    "barred_disk",
    "disk",
    "artifact",
)


def well_sampled(
    catalog: Catalog, question: str, votes: int = 20, *, classifications: float | None = None
) -> pl.Series:
    """Which galaxies have enough votes on a question for its fractions to mean something.

    Willett et al. 2013, table 3: the weighted fraction of every previous answer exceeds its cut (the cut in the row of
    a question is on the last previous answer, earlier answers are cut by their own rows), and N votes on the question.

    Args:
        catalog: N galaxies.
        question: key of the question, e.g. `t03_bar`.
        votes: 10 or 20: the least number of votes, and the column of the table.
        classifications: only for catalogues without vote counts: estimate the votes as the probability of reaching the
            question times this number of classifications per galaxy (44 in the main sample of Galaxy Zoo 2).

    Returns:
        Boolean `[N]`, never null.

    Raises:
        InputError: unknown question, another number of votes, or no vote counts and no estimate asked for.
    """
    asked = _question(catalog, question)
    if votes not in (10, 20):
        raise InputError(f"well-sampled cuts exist for 10 and 20 votes (Willett+2013 table 3), not for {votes}")
    enough = _enough(catalog, asked, votes, classifications)
    ancestors = catalog.tree.ancestors(question)
    following = [asked, *(catalog.tree.question_of[answer] for answer in ancestors)]
    for answer, next_question in zip(ancestors, following, strict=False):
        if next_question.well_sampled is not None:
            enough &= pl.col(_weighted(catalog, answer)) > next_question.well_sampled[0 if votes == 10 else 1]
    return catalog.frame.select(keep=enough.fill_null(False))["keep"]


def clean(
    catalog: Catalog, answer: str, votes: int = 20, threshold: float = 0.8, *, classifications: float | None = None
) -> pl.Series:
    """The clean sample of an answer: its question is well sampled and its debiased fraction exceeds the threshold.

    The `_flag` columns of Hart et al. 2016 are the second half only, down to a single vote, and are not used.

    Raises:
        InputError: unknown answer, or as `well_sampled`.
    """
    question = _question_of(catalog, answer)
    sampled = well_sampled(catalog, question.key, votes, classifications=classifications)
    chosen = catalog.frame[_debiased(catalog, answer)] > threshold
    return (sampled & chosen.fill_null(False)).alias("keep")


def feature(catalog: Catalog, answer: str, threshold: float = 0.5) -> pl.Series:
    """Which galaxies have an answer, loosely: it and every answer leading to it exceed the threshold (debiased).

    Raises:
        InputError: unknown answer.
    """
    question = _question_of(catalog, answer)
    columns = [_debiased(catalog, name) for name in (answer, *catalog.tree.ancestors(question.key))]
    return catalog.frame.select(keep=pl.all_horizontal(pl.col(columns) > threshold).fill_null(False))["keep"]


def gz2_class(catalog: Catalog) -> pl.Series:
    """The class string of Galaxy Zoo 2 (`Ei`, `SBc2m`, `Ser(u)`, …): the largest debiased answer at each step.

    Grammar: Willett et al. 2013, appendix on the class string. As in the published strings, a question nobody was
    asked counts as its first answer.

    Raises:
        InputError: the catalogue lacks a question the string needs.
    """
    stems = [f"t{number:02d}_" for number in range(1, 12)]
    keys = {stem: key for key in catalog.tree.by_key for stem in stems if key.startswith(stem)}
    for stem in stems:
        if stem not in keys or catalog.frame[catalog.tree.by_key[keys[stem]].columns[0]].is_null().all():
            raise InputError(
                f"gz2_class: catalogue {catalog.survey!r} has no answers to question {keys.get(stem, stem)}"
            )

    def part(stem: str, *letters: str) -> npt.NDArray[np.object_]:
        return np.array(letters, dtype=object)[np.maximum(_largest(catalog, keys[stem]), 0)]

    kind, edge_on, spiral, odd = (part(stem, "0", "1", "2") for stem in ("t01_", "t02_", "t04_", "t06_"))
    arms = part("t11_", "1", "2", "3", "4", "+", "?") + part("t10_", "t", "m", "l")
    oblique = "S" + part("t03_", "B", "") + part("t05_", "d", "c", "b", "a") + np.where(spiral == "0", arms, "")
    disk = np.where(edge_on == "0", "Se" + part("t09_", "r", "b", "n"), oblique)
    galaxy = np.where(kind == "0", "E" + part("t07_", "r", "i", "c"), disk)
    suffix = part("t08_", "(r)", "(l)", "(d)", "(i)", "(o)", "(m)", "(u)")
    text = np.where(kind == "2", "A", galaxy + np.where(odd == "0", suffix, ""))
    return pl.Series("gz2_class", text.tolist(), dtype=pl.String)


def classify(catalog: Catalog) -> pl.Series:
    """Coarse class of every galaxy `[N]`, one of `COARSE_CLASSES`: the largest (debiased) answer at each step.

    A tie between yes and no is a no. Null where the answers do not lead to a class, for instance a smooth galaxy of
    unknown roundness.

    Raises:
        InputError: the tree lacks a question of Galaxy Zoo 2 that the classes are made from.
    """
    for key in ("t01_smooth_or_features", "t02_edgeon", "t03_bar", "t04_spiral", "t07_rounded"):
        _question(catalog, key)
    kind, shape = _largest(catalog, "t01_smooth_or_features"), _largest(catalog, "t07_rounded")
    edge_on, bar, arms = (_yes_or_no(catalog, key) for key in ("t02_edgeon", "t03_bar", "t04_spiral"))
    smooth, oblique = kind == 0, (kind == 1) & (edge_on == 0)
    rules = {
        "artifact": kind == 2,
        "round": smooth & (shape == 0),
        "in_between": smooth & (shape == 1),
        "cigar": smooth & (shape == 2),
        "edge_on": (kind == 1) & (edge_on == 1),
        "barred_spiral": oblique & (arms == 1) & (bar == 1),
        "unbarred_spiral": oblique & (arms == 1) & (bar == 0),
        "spiral": oblique & (arms == 1) & (bar == -1),
        "barred_disk": oblique & (arms == 0) & (bar == 1),
        "disk": oblique & (arms == 0) & (bar == 0),
    }
    names = np.select(list(rules.values()), list(rules), default="")
    return pl.Series("class", names, dtype=pl.String).replace("", None)


@dataclass(frozen=True)
class Balanced:
    """A catalogue reduced to a target mix, with the counts per class before and after."""

    catalog: Catalog
    before: dict[str, int]
    after: dict[str, int]


def balance(catalog: Catalog, target: Mapping[str, float], seed: int, *, classes: pl.Series | None = None) -> Balanced:
    """Reduce common classes until the mix is the target; as many galaxies as the mix allows stay.

    Which galaxies of a class stay depends on seed and id only, not on the order of rows. Classes that `target` does not
    name, and galaxies without a class, are left out.

    Args:
        catalog: N galaxies.
        target: share of each class, summing to 1.
        seed: of the choice.
        classes: class of each galaxy `[N]`; by default `classify(catalog)`.

    Raises:
        InputError: shares do not sum to 1, or a class with a share has no galaxies.
    """
    if abs(sum(target.values()) - 1) > 1e-6 or any(share <= 0 for share in target.values()):
        raise InputError(f"balance: shares must be positive and sum to 1, found {dict(target)}")
    label = classify(catalog) if classes is None else classes
    counts = label.drop_nulls().value_counts().sort("count", descending=True)
    before = dict(counts.iter_rows())
    absent = [name for name in target if name not in before]
    if absent:
        raise InputError(
            f"balance: no galaxies of class {absent[0]!r}; the catalogue has {', '.join(map(str, before))}"
        )
    total = min(before[name] / share for name, share in target.items())
    after = {name: int(total * share + 1e-9) for name, share in target.items()}
    key = pl.Series([_key(seed, galaxy) for galaxy in catalog.frame["id"]], dtype=pl.String)
    rank = pl.DataFrame({"class": label, "key": key}).select(pl.col("key").rank("ordinal").over("class"))["key"]
    allowed = label.replace_strict(after, default=0, return_dtype=pl.Int64)
    return Balanced(catalog.filter(rank <= allowed), before, after)


def add_rare(catalog: Catalog, pool: Catalog, answer: str, threshold: float = 0.4) -> Catalog:
    """Put back galaxies of `pool` that have a rare answer and that a selection had dropped (the paper's `+dustlane`).

    A galaxy has the answer if it and every answer leading to it exceed the threshold (see `feature`).

    Raises:
        InputError: unknown answer, or the two catalogues are of different trees or surveys.
    """
    if (catalog.survey, catalog.tree) != (pool.survey, pool.tree):
        raise InputError(
            f"add_rare: pool of survey {pool.survey!r} does not fit catalogue of survey {catalog.survey!r}"
        )
    rare = pool.frame.filter(feature(pool, answer, threshold))
    new = rare.join(catalog.frame.select("id"), on="id", how="anti", maintain_order="left")
    return catalog.with_frame(pl.concat([catalog.frame, new.select(catalog.frame.columns)]))


def withhold(catalog: Catalog, conditions: Sequence[str]) -> tuple[Catalog, list[str]]:
    """Take out every galaxy that meets one of the conditions.

    Args:
        catalog: N galaxies.
        conditions: SQL conditions over the columns, e.g. `source_T <= -1 AND source_Visible_Dust >= 0.5`. One that
            names columns this catalogue does not have does not concern it; null meets no condition.

    Returns:
        What is left, and the ids of what was taken out.

    Raises:
        InputError: a condition is not valid SQL, not a condition, or compares what cannot be compared.
    """
    out = pl.Series([False]).new_from_index(0, len(catalog))
    for condition in conditions:
        try:
            expression = pl.sql_expr(condition)
            if set(expression.meta.root_names()) <= set(catalog.frame.columns):
                met = catalog.frame.select(met=expression)["met"]
                if met.dtype != pl.Boolean or len(met) != len(catalog):
                    raise InputError(f"condition {condition!r}: expected a comparison that is true or false per galaxy")
                out |= met.fill_null(False)
        except pl.exceptions.PolarsError as error:
            raise InputError(f"condition {condition!r}: {first_line(error)}") from None
    ids: list[str] = catalog.frame["id"].filter(out).to_list()
    if len(ids) == len(catalog):
        raise InputError("conditions: they match every galaxy of the catalogue")
    return catalog.filter(~out), ids


def _question(catalog: Catalog, key: str) -> Question:
    if key not in catalog.tree.by_key:
        raise InputError(f"question {key!r} is not in tree {catalog.tree.name!r} ({', '.join(catalog.tree.by_key)})")
    return catalog.tree.by_key[key]


def _question_of(catalog: Catalog, answer: str) -> Question:
    if answer not in catalog.tree.question_of:
        raise InputError(
            f"answer {answer!r} is not in tree {catalog.tree.name!r}; an example is {catalog.tree.columns[0]!r}"
        )
    return catalog.tree.question_of[answer]


def _weighted(catalog: Catalog, answer: str) -> str:
    """The column with the weighted fraction of an answer."""
    kept = f"source_{answer}_weighted_fraction"
    return kept if kept in catalog.frame.columns else answer


def _debiased(catalog: Catalog, answer: str) -> str:
    """The column with the debiased fraction of an answer, as published where it was."""
    kept = f"source_{answer}_debiased"
    return kept if kept in catalog.frame.columns else answer


def _enough(catalog: Catalog, question: Question, votes: int, classifications: float | None) -> pl.Expr:
    if not catalog.frame[question.votes].is_null().all():
        return pl.col(question.votes) >= votes
    if classifications is None:
        raise InputError(
            f"question {question.key!r}: survey {catalog.survey!r} has no vote counts to cut on;"
            " ask for an estimate with classifications=44, or leave the cut out"
        )
    index = list(catalog.tree.by_key).index(question.key)
    return pl.lit(pl.Series(catalog.reach()[:, index] * classifications >= votes))


def _values(catalog: Catalog, key: str) -> npt.NDArray[np.float32]:
    """Debiased fractions of a question's answers `[N, answers]`, 0 where nobody was asked.

    A few debiased values are missing in the published table; the weighted fraction stands in for them.
    """
    return catalog.frame.select(
        pl.coalesce(_debiased(catalog, answer), _weighted(catalog, answer)).fill_null(0).alias(answer)
        for answer in catalog.tree.by_key[key].columns
    ).to_numpy()


def _largest(catalog: Catalog, key: str) -> npt.NDArray[np.intp]:
    """Index of the largest answer to a question `[N]`, the first of equals; -1 where no answer is above 0."""
    values = _values(catalog, key)
    return np.where(values.max(axis=1) > 0, values.argmax(axis=1), -1)


def _yes_or_no(catalog: Catalog, key: str) -> npt.NDArray[np.intp]:
    """1 where the first of two answers is the larger, 0 where it is not, -1 where no answer is above 0 `[N]`."""
    values = _values(catalog, key)
    return np.where(values.max(axis=1) > 0, (values[:, 0] > values[:, 1]).astype(np.intp), -1)


def _key(seed: int, galaxy: str) -> str:
    return hashlib.blake2b(f"{seed} {galaxy}".encode(), digest_size=8).hexdigest()
