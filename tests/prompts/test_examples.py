"""The examples in the docstrings of the room are right."""

import doctest
import importlib
import pkgutil

import pytest

import galaxysd.prompts

MODULES = [f"galaxysd.prompts.{module.name}" for module in pkgutil.iter_modules(galaxysd.prompts.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    assert sum(doctest.testmod(importlib.import_module(name)).attempted for name in MODULES) > 15
