"""Lists of known galaxies: by id, by position, and what is wrong with them."""

from pathlib import Path

import polars as pl
import pytest
from toy_survey import toy_dataset

from galaxysd.errors import InputError
from galaxysd.search.known import known_ids
from galaxysd.search.survey import Survey


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return Survey.open(toy_dataset(tmp_path_factory.mktemp("known"), n=12))


def test_ids_with_and_without_their_survey(survey: Survey, tmp_path: Path) -> None:
    first, second, *_ = survey.positions()
    pl.DataFrame({"id": [f"sdss:{second}", "of another survey", first]}).write_csv(tmp_path / "ids.csv")
    assert known_ids(tmp_path / "ids.csv", survey) == [first, second]


def test_positions_within_three_arcsec(survey: Survey, tmp_path: Path) -> None:
    (first, (ra, dec)), (_, (ra2, dec2)), *_ = survey.positions().items()
    assert ra is not None and dec is not None and ra2 is not None and dec2 is not None
    near = pl.DataFrame({"ra": [ra, ra2], "dec": [dec + 2 / 3600, dec2 + 5 / 3600]})
    near.write_parquet(tmp_path / "places.parquet")
    assert known_ids(tmp_path / "places.parquet", survey) == [first]


def test_a_list_that_helps_nobody_is_refused(survey: Survey, tmp_path: Path) -> None:
    pl.DataFrame({"id": ["PGC1"]}).write_csv(tmp_path / "ids.csv")
    with pytest.raises(InputError, match=r"none of its 1 galaxies is in survey .*'PGC1', ids of the survey look like"):
        known_ids(tmp_path / "ids.csv", survey)
    pl.DataFrame({"name": ["PGC1"]}).write_csv(tmp_path / "names.csv")
    with pytest.raises(InputError, match="neither a column 'id' nor 'ra' and 'dec'"):
        known_ids(tmp_path / "names.csv", survey)
