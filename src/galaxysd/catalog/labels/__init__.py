"""Labels told by eye for this project: spiral arms counted on training galaxies, ids and answers only.

`arms.csv` has the columns survey, id, arms, winding. Two passes were made apart from each other over pictures of 128 to
190 px; a galaxy is here only if both gave the same number of arms, and has a winding only if both gave the same.
"""

import csv
from functools import cache
from importlib.resources import files

ARMS = {
    "1": "t11_arms_number_a31_1",
    "2": "t11_arms_number_a32_2",
    "3": "t11_arms_number_a33_3",
    "4": "t11_arms_number_a34_4",
    "m": "t11_arms_number_a36_more_than_4",
}
WINDING = {
    "t": "t10_arms_winding_a28_tight",
    "m": "t10_arms_winding_a29_medium",
    "l": "t10_arms_winding_a30_loose",
}


@cache
def read_arm_labels() -> dict[str, tuple[str, ...]]:
    """`survey:id` -> answer columns of Galaxy Zoo 2 that hold for the galaxy."""
    text = (files("galaxysd.catalog.labels") / "arms.csv").read_text(encoding="utf-8")
    found = {}
    for row in csv.DictReader(text.splitlines()):
        answers = (ARMS.get(row["arms"]), WINDING.get(row["winding"]))
        found[f"{row['survey']}:{row['id']}"] = tuple(answer for answer in answers if answer is not None)
    return found
