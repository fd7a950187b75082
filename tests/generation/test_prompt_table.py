"""generation/table.py: what is asked for, and what cannot be."""

from itertools import islice
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.errors import InputError
from galaxysd.generation.table import MAX_GALAXIES, PromptTable, RequestRow


def table(folder: Path, text: str) -> Path:
    path = folder / "prompts.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_galaxies_are_counted_through_and_seeded(pipeline: GalaxyPipeline) -> None:
    items = list(PromptTable.of(["sdss, bar", "merger"], n=2).items(pipeline, seed=10))
    assert [item.id for item in items] == ["000000-0000", "000000-0001", "000001-0000", "000001-0001"]
    assert [item.request.seed for item in items] == [10, 11, 12, 13]
    assert [item.prompt for item in items] == ["sdss, bar", "sdss, bar", "merger", "merger"]
    assert items[0].request.morphology == pipeline.understand("sdss, bar")


def test_a_seed_in_the_table_counts_for_its_row(tmp_path: Path, pipeline: GalaxyPipeline) -> None:
    path = table(tmp_path, 'prompt,n,seed\n"sdss, bar",2,\nmerger,2,500\nring,,\n')
    items = list(PromptTable.read(path, n=3).items(pipeline, seed=7))
    assert [item.request.seed for item in items] == [7, 8, 500, 501, 11, 12, 13]


def test_count_is_another_name_for_n_and_parquet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "prompts.parquet"
    pl.DataFrame({"prompt": ["bar", "ring"], "count": [2, 5], "note": ["x", "y"]}).write_parquet(path)
    assert PromptTable.read(path).frame["n"].to_list() == [2, 5]


counts = st.lists(st.integers(1, 6), min_size=1, max_size=6)


@given(counts=counts, cut=st.integers(0, 40), limit=st.integers(1, 40), seed=st.integers(0, 1000))
def test_a_stream_taken_up_in_the_middle_is_the_same_stream(
    pipeline: GalaxyPipeline, counts: list[int], cut: int, limit: int, seed: int
) -> None:
    own = [None if count % 2 else 100 * count for count in counts]
    frame = pl.DataFrame({"prompt": ["bar"] * len(counts), "n": counts, "seed": pl.Series(own, dtype=pl.Int64)})
    requests = PromptTable(frame)
    whole = list(requests.items(pipeline, seed))
    assert len(whole) == len({item.id for item in whole}) == requests.galaxies == sum(counts)
    assert [*requests.items(pipeline, seed, 0, cut), *requests.items(pipeline, seed, cut)] == whole
    assert list(requests.limited(limit).items(pipeline, seed)) == whole[:limit]


def test_ten_million_galaxies_are_a_stream(pipeline: GalaxyPipeline) -> None:
    requests = PromptTable.of(["bar"], n=MAX_GALAXIES)
    first: list[RequestRow] = list(islice(requests.items(pipeline, 0, start=MAX_GALAXIES - 2), 5))
    assert [item.id for item in first] == ["000000-9999998", "000000-9999999"]


def test_content_hash_sees_every_value() -> None:
    hashes = {
        PromptTable(
            pl.DataFrame({"prompt": [prompt], "n": [n], "seed": pl.Series([seed], dtype=pl.Int64)})
        ).content_hash()
        for prompt, n, seed in [("bar", 1, None), ("bar", 2, None), ("ring", 1, None), ("bar", 1, 0)]
    }
    assert len(hashes) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text,n\nbar,1\n", r"prompts.csv: no column 'prompt'; it has 'text', 'n'"),
        ("", "is empty"),
        ("prompt,n\n", "the table has no rows"),
        ("prompt,n\nbar,1\n,2\n", r"row 2: the prompt is empty"),
        ("prompt,n\nbar,1\nring,0\n", r"row 2: n must lie between 1 and 10,000,000, not 0"),
        ("prompt,n\nring,-3\n", r"row 1: n must lie between 1"),
        ("prompt,count\nring,10000001\n", r"row 1: count must lie between 1"),
        ("prompt,n\nring,1.5\n", r"row 1: n '1.5' is not a whole number"),
        ("prompt,n\nring,many\n", r"row 1: n 'many' is not a whole number"),
        ("prompt,seed\nring,-1\n", r"row 1: seed must not be negative"),
        ("prompt,n,count\nring,1,1\n", "has both columns 'n' and 'count'"),
        ("prompt,n\nbar,9000000\nring,9000000\n", "18,000,000 galaxies are asked for"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        PromptTable.read(table(tmp_path, text))


def test_bad_prompts_are_named_by_row(tmp_path: Path, pipeline: GalaxyPipeline) -> None:
    path = table(tmp_path, "prompt\nbar\nwibble\n")
    with pytest.raises(InputError, match=r"prompts.csv: row 2: prompt: unknown word 'wibble'"):
        PromptTable.read(path).check(pipeline, 0)
    with pytest.raises(InputError, match=r"^prompt 2: prompt: unknown word 'wibble'"):
        PromptTable.of(["bar", "wibble"]).check(pipeline, 0)
    with pytest.raises(InputError, match=r"^prompt: unknown word 'wibble'"):
        PromptTable.of(["wibble"]).check(pipeline, 0)


@pytest.mark.parametrize("seed", [-1, 2**63 - 1])
def test_seeds_stay_in_range(pipeline: GalaxyPipeline, seed: int) -> None:
    with pytest.raises(InputError, match="seed must lie between"):
        PromptTable.of(["bar"], n=2).check(pipeline, seed)


def test_seeds_of_a_row_stay_in_range(tmp_path: Path, pipeline: GalaxyPipeline) -> None:
    path = table(tmp_path, f"prompt,n,seed\nbar,2,{2**63 - 1}\n")
    with pytest.raises(InputError, match=r"row 1: seed \+ n"):
        PromptTable.read(path).check(pipeline, 0)


@pytest.mark.parametrize("n", [0, -1, MAX_GALAXIES + 1])
def test_n_out_of_range(n: int) -> None:
    with pytest.raises(InputError, match="n must lie between 1"):
        PromptTable.of(["bar"], n=n)


def test_nothing_asked_for() -> None:
    with pytest.raises(InputError, match="no prompts are given"):
        PromptTable.of([])
    with pytest.raises(InputError, match="limit must be at least 1"):
        PromptTable.of(["bar"]).limited(0)
