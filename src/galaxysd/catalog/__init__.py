"""What people saw: decision trees as data, readers of vote tables, selections and splits.

In: a survey's table of votes. Out: a `Catalog` (polars frame in the column contract + `DecisionTree`). Names are loaded
when they are first asked for: a generator needs the tree, not the table library.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from galaxysd.catalog.catalog import Catalog
    from galaxysd.catalog.readers import read_votes
    from galaxysd.catalog.tree import DecisionTree, Question

__all__ = ["Catalog", "DecisionTree", "Question", "read_votes"]

_HOMES = {"Catalog": "catalog", "DecisionTree": "tree", "Question": "tree", "read_votes": "readers"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'galaxysd.catalog' has no attribute {name!r}")
    return getattr(import_module(f"galaxysd.catalog.{_HOMES[name]}"), name)
