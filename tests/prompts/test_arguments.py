"""Prompts of whatever type a program hands over: a list of prompts, or one clear line."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest

from galaxysd.errors import InputError
from galaxysd.prompts import Morphology, as_prompts


def several() -> Iterator[str]:
    yield from ("a", "b")


@pytest.mark.parametrize(
    ("given", "prompts"),
    [
        ("spiral galaxy", ["spiral galaxy"]),
        ("", [""]),
        (Morphology(), [Morphology()]),
        (["a", Morphology()], ["a", Morphology()]),
        (("a", "b"), ["a", "b"]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array(["a", "b"])[0], ["a"]),
        (pl.Series(["a", "b"]), ["a", "b"]),
        (several(), ["a", "b"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_prompts_in_any_container(given: object, prompts: list[object]) -> None:
    found = as_prompts(given)
    assert found == prompts
    assert {type(prompt) for prompt in found} <= {str, Morphology}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "prompts: expected text, a Morphology or a list of them, not None"),
        (3, "not the int 3"),
        (np.int64(3), "not an int64"),
        (2.0, "not the float 2.0"),
        (True, "not the bool True"),
        (b"bar", "not a bytes"),
        ({"prompt": "bar"}, "not a dict"),
        (np.array("bar"), "not a ndarray"),
        ([], "prompts: the list is empty; give at least one"),
        (pl.Series([], dtype=pl.String), "the list is empty"),
        (["galaxy", 3], "prompt 2 of 2: expected text or a Morphology, not the int 3"),
        (["galaxy", None, "bar"], "prompt 2 of 3: .* not None"),
        ([["galaxy"]], "prompt 1 of 1: .* not a list"),
        (np.array([1.5]), "prompt 1 of 1: .* not the float64 1.5"),
        (pl.Series(["a", None]), "prompt 2 of 2: .* not None"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_what_is_no_prompt_is_named_in_one_line(given: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        as_prompts(given)
    assert str(error.value).isprintable() and len(str(error.value)) < 200
