"""Hard classes from votes: rules over the columns of a catalogue.

In: a YAML file (`rules/gz2.yaml`, `rules/efigi_bar.yaml`, or one's own) and a `Catalog`. Out: a class number per
galaxy, -1 where no rule applies. Classes exclude each other: the first rule that a galaxy meets counts.
"""

from collections import Counter
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field, model_validator

from galaxysd.catalog.catalog import Catalog, first_line
from galaxysd.data.galaxy_set import UNLABELLED
from galaxysd.errors import InputError
from galaxysd.settings import FrozenModel
from galaxysd.types import Labels

BUILT_IN = Path(__file__).parent / "rules"


class ClassRule(FrozenModel):
    """One class."""

    name: str = Field(min_length=1, description="what people call it")
    where: str = Field(min_length=1, description="SQL condition over the columns of the catalogue; null is not met")
    prompt: str = Field(default="", description="what to generate for it, without a survey; empty: nothing")


class ClassRules(FrozenModel):
    """The classes of a classification, in order of precedence."""

    name: str = Field(min_length=1)
    classes: tuple[ClassRule, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        twice = [name for name, count in Counter(self.names).items() if count > 1]
        if twice:
            raise ValueError(f"class {twice[0]!r} is defined twice")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, in order."""
        return tuple(rule.name for rule in self.classes)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """Built-in rules by name, or those of a YAML file.

        Raises:
            InputError: no such rules, or they do not fit.
        """
        built_in = BUILT_IN / f"{name_or_path}.yaml"
        path = built_in if built_in.is_file() else Path(name_or_path)
        if not path.is_file():
            names = ", ".join(sorted(file.stem for file in BUILT_IN.glob("*.yaml")))
            raise InputError(f"rules {str(name_or_path)!r}: neither built in ({names}) nor a YAML file")
        return cls.read(path)


def label(catalog: Catalog, rules: ClassRules) -> Labels:
    """The class of every galaxy.

    A rule that names columns this catalogue does not have is met by none of its galaxies, so that datasets of several
    surveys can be labelled alike.

    Args:
        catalog: N galaxies.
        rules: K classes.

    Returns:
        int64 [N], the index of the class, -1 for unlabelled.

    Raises:
        InputError: a condition is not valid SQL or not a condition.
    """
    labels = np.full(len(catalog), UNLABELLED)
    for index in reversed(range(len(rules.classes))):
        labels[_met(catalog, rules.classes[index])] = index
    return labels


def _met(catalog: Catalog, rule: ClassRule) -> npt.NDArray[np.bool_]:
    try:
        condition = pl.sql_expr(rule.where)
        if not set(condition.meta.root_names()) <= set(catalog.frame.columns):
            return np.zeros(len(catalog), dtype=bool)
        met = catalog.frame.select(met=condition)["met"]
    except pl.exceptions.PolarsError as error:
        raise InputError(f"class {rule.name!r}: condition {rule.where!r}: {first_line(error)}") from None
    if met.dtype != pl.Boolean or len(met) != len(catalog):
        raise InputError(
            f"class {rule.name!r}: condition {rule.where!r}: expected a comparison that is true or false per galaxy"
        )
    return met.fill_null(False).to_numpy()
