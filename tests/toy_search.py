"""A search that found galaxies nobody has seen, for tests of vetting and publishing."""

import numpy as np

from galaxysd.data.decode import encode_png
from galaxysd.vetting.candidates import Candidate, Search

SEARCH = Search(
    name="lanes",
    target="early-type galaxy, {dust lane:1.3}",
    survey="toy",
    survey_hash="5eed5eed",
    model_hash="c0ffee00",
    galaxies=1000,
)


def candidates(n: int, *, images: bool = False) -> list[Candidate]:
    """n candidates, one a degree in ra, best first; a different grey each."""
    return [
        Candidate(
            id=f"g{rank:04d}",
            rank=rank,
            score=1 / (1 + rank / 10),
            spread=0.001 * (rank % 7),
            ra=float(rank % 360),
            dec=-5.0,
            image=encode_png(np.full((64, 64, 3), 40 + rank % 200, np.uint8)) if images else None,
            reasons=(f"reason {rank}",),
        )
        for rank in range(1, n + 1)
    ]
