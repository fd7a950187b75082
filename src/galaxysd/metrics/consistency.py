"""Consistency: do the galaxies show what was asked for, by the word of readers that know real galaxies only?

In: the fractions asked for [N, A] with the questions known [N, Q], and the fractions that readers give (reader.py).
Out: error per answer, accuracy per question, calibration. The same functions on held-out real galaxies (whose votes
play the part of the request) are what a perfect generator would reach; on shuffled requests, what luck reaches.
"""

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from galaxysd.catalog.tree import DecisionTree
from galaxysd.metrics.calibration import reliability
from galaxysd.settings import FrozenModel
from galaxysd.types import Flags, Floats

CLEAR = 0.7  # a request is clear on a question where its largest fraction reaches this
LEAST = 10  # fewer clear galaxies give no accuracy


@dataclass(frozen=True)
class Reading:
    """What was asked and what is seen.

    Attributes:
        asked: fractions asked for [N, A], in tree order.
        known: questions that the request says anything about [N, Q].
        read: fractions that the readers see [N, A].
        tree: the questions.
    """

    asked: Floats
    known: Flags
    read: Floats
    tree: DecisionTree

    def shuffled(self, seed: int) -> "Reading":
        """The negative control: every galaxy is held against the request of another."""
        order = np.random.default_rng(seed).permutation(len(self.asked))
        return Reading(self.asked[order], self.known[order], self.read, self.tree)


def fraction_errors(reading: Reading) -> Floats:
    """Mean over its known answers of |read - asked|, per galaxy [N]; NaN where nothing is known."""
    told = np.zeros(reading.asked.shape, bool)
    for question in range(len(reading.tree.questions)):
        told[:, reading.tree.slices[question]] = reading.known[:, question, None]
    with np.errstate(invalid="ignore"):
        error: Floats = (np.abs(reading.read - reading.asked) * told).sum(axis=1) / told.sum(axis=1)
    return error


def right_shares(reading: Reading) -> Floats:
    """Per galaxy, the share of its clear questions that are read rightly [N]; NaN where no question is clear."""
    right, clear = np.zeros(len(reading.asked)), np.zeros(len(reading.asked))
    for index in range(len(reading.tree.questions)):
        asked, read = reading.asked[:, reading.tree.slices[index]], reading.read[:, reading.tree.slices[index]]
        told = reading.known[:, index] & (asked.max(axis=1) >= CLEAR)
        clear += told
        right += told & (asked.argmax(axis=1) == read.argmax(axis=1))
    with np.errstate(invalid="ignore"):
        shares: Floats = right / clear
    return shares


class Calibration(FrozenModel):
    """Fractions read against fractions asked for, in bins of the fraction read."""

    seen: tuple[float, ...] = Field(description="mean fraction read of each bin")
    asked: tuple[float, ...] = Field(description="mean fraction asked for of each bin")
    n: tuple[int, ...] = Field(description="answers in each bin")
    error: float = Field(description="expected calibration error: mean |seen - asked| of the bins, weighed by n")


def calibration(reading: Reading, *, bins: int = 10) -> Calibration:
    """Reliability over all known answers (Guo et al. 2017, arXiv 1706.04599, eq. 3, with fractions for outcomes)."""
    read, asked = [], []
    for index in range(len(reading.tree.questions)):
        known, columns = reading.known[:, index], reading.tree.slices[index]
        read.append(reading.read[known, columns].ravel())
        asked.append(reading.asked[known, columns].ravel())
    seen, wanted = np.concatenate(read), np.concatenate(asked)
    found = reliability(seen, wanted, bins=bins)
    return Calibration(
        seen=tuple(found.predicted), asked=tuple(found.observed), n=tuple(found.n.tolist()), error=found.error
    )
