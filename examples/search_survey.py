"""Search a survey for a rare kind of galaxy, vote on the candidates, and publish what was found.

    python examples/search_survey.py --out rings

It searches a toy survey for rings. The truth about its galaxies is known, so it also counts how many were found, and
answers in the place of a person who looks at them.
"""

import argparse
from pathlib import Path

import polars as pl

from galaxysd.cli import main as galaxysd

RING = "a19_ring"


def main() -> None:
    """A toy survey, a search, votes, a catalogue."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("rings"))
    parser.add_argument("--model", default="mini")
    parser.add_argument("--encoder", default="galaxyemb")
    parser.add_argument("--target", default="sdss, {ring:2} galaxy")
    parser.add_argument("-n", type=int, default=1000, help="galaxies of the toy survey")
    parser.add_argument("--candidates", type=int, default=50)
    parser.add_argument("--quick", action="store_true", help="few generated galaxies: tries the script, finds little")
    args = parser.parse_args()
    survey, data, found = args.out / "survey", args.out / "data", args.out / "search"

    galaxysd(["toy", "--out", str(survey), "-n", str(args.n)])
    votes, images = str(survey / "votes.csv"), str(survey / "images")
    galaxysd(["catalog", "build", "--votes", votes, "--images", images, "--survey", "sdss", "--out", str(data)])

    search = ["discover", "--survey", str(data), "--target", args.target, "--model", args.model]
    search += ["--encoder", args.encoder, "--set", f"candidates={args.candidates}"]
    if args.quick:
        search += [
            part
            for name in ("generated", "hard_negatives", "background", "unlabelled")
            for part in ("--set", f"{name}=50")
        ]
        search += ["--set", "mapped=0"]
    galaxysd([*search, "--out", str(found)])

    # A person would look at each candidate; here the truth answers.
    truth = dict(pl.read_parquet(survey / "truth.parquet").select("id", "odd").iter_rows())
    candidates = pl.read_parquet(found / "round-1" / "candidates.parquet").sort("rank")["id"].to_list()
    rings = [truth[name.removeprefix("sdss:")] == RING for name in candidates]
    print(
        f"{sum(rings)} rings among {len(rings)} candidates; {list(truth.values()).count(RING)} among {args.n} galaxies"
    )

    store = str(args.out / "vetting.db")
    table = str(found / "round-1" / "candidates.parquet")
    galaxysd(["vet", "add", "--store", store, "--candidates", table, "--name", "rings"])
    for name, ring in zip(candidates, rings, strict=True):
        answer = "yes" if ring else "no"
        galaxysd(["vet", "vote", name, answer, "--store", store, "--search", "rings", "--voter", "truth"])
    galaxysd(["vet", "status", "--store", store, "--search", "rings"])

    verdicts = [] if any(rings) else ["--verdict", "no"]  # a catalogue needs a galaxy
    title = ["--title", "Rings of a toy survey", "--authors", "Nobody"]
    galaxysd(
        ["publish", "--store", store, "--search", "rings", *title, *verdicts, "--out", str(args.out / "catalogue")]
    )


if __name__ == "__main__":
    main()
