"""Generate galaxies from prompts and from vote fractions, and write them as one contact sheet.

python examples/generate.py --out galaxies.png
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from galaxysd import GalaxyPipeline, Morphology

SMOOTH = "t01_smooth_or_features_a01_smooth"
DISK = "t01_smooth_or_features_a02_features_or_disk"
STAR = "t01_smooth_or_features_a03_star_or_artifact"

PROMPTS = [
    "sdss, smooth, completely round galaxy",
    "sdss-r90, edge-on galaxy, with rounded edge-on bulge",
    "efigi, {spiral galaxy:2}, {ring:2}",  # weights stress what a whole prompt hides
]


def main() -> None:
    """Draw a row for each prompt, and one for galaxies on which the volunteers disagree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mini", help="a shipped model or a model folder")
    parser.add_argument("--out", type=Path, default=Path("galaxies.png"))
    parser.add_argument("-n", type=int, default=4, help="galaxies of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    pipeline = GalaxyPipeline.from_pretrained(args.model)
    divided = Morphology(survey="sdss", fractions={SMOOTH: 0.5, DISK: 0.5, STAR: 0.0})
    kinds = [*PROMPTS, divided]
    galaxies = pipeline(kinds, n=args.n, seed=args.seed)

    rows = galaxies.images.reshape(len(kinds), args.n, *galaxies.images.shape[1:])
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
    Image.fromarray(sheet).save(args.out)
    for kind in kinds:
        print(pipeline.caption(pipeline.understand(kind)))
    print(f"{len(galaxies.images)} galaxies in {args.out}")


if __name__ == "__main__":
    main()
