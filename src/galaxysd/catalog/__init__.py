"""What people saw: decision trees as data, readers of vote tables, selections and splits.

In: a survey's table of votes. Out: a `Catalog` (polars frame in the column contract + `DecisionTree`).
"""

from galaxysd.catalog.catalog import Catalog
from galaxysd.catalog.readers import read_votes
from galaxysd.catalog.tree import DecisionTree, Question

__all__ = ["Catalog", "DecisionTree", "Question", "read_votes"]
