"""Votes become galaxies to learn from."""

from pathlib import Path

import pytest
from toy_survey import toy_dataset

from galaxysd.errors import InputError
from galaxysd.search.known import read_answers
from galaxysd.search.survey import Survey


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return Survey.open(toy_dataset(tmp_path_factory.mktemp("rounds"), n=8))


def test_the_majority_counts(survey: Survey, tmp_path: Path) -> None:
    a, b, c, d, *_ = survey.positions()
    rows = [(a, "yes"), (a, "Yes "), (a, "no"), (b, "no"), (c, "yes"), (f"sdss:{c}", "0"), (d, "unsure")]
    table = tmp_path / "answers.csv"
    table.write_text("id,answer\n" + "".join(f"{name},{word}\n" for name, word in rows))
    found = read_answers(table, survey)
    assert (found.yes, found.no, set(found.unsure)) == ((a,), (b,), {c, d})
    assert found.all == {a, b, c, d}


def test_bad_tables(survey: Survey, tmp_path: Path) -> None:
    table, name = tmp_path / "answers.csv", next(iter(survey.positions()))
    for text, message in (
        (f"id,vote\n{name},yes\n", "no column 'answer'"),
        (f"id,answer\n{name},yes\n{name},perhaps\n", "row 3: answer 'perhaps' is none of yes, no, unsure"),
        ("id,answer\nPGC1,yes\n", "'PGC1' is not in survey"),
    ):
        table.write_text(text)
        with pytest.raises(InputError, match=message):
            read_answers(table, survey)
