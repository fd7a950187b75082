"""Train a classifier from few labels, with and without generated galaxies, and say which way is best.

    python examples/augment_few_labels.py --out few-labels

It makes a toy survey, takes some of its galaxies as labelled by you, and runs the experiment of `galaxysd augment`. To
use your labels, give `galaxysd augment` your table and images; docs/guides/augment.md has the commands.
"""

import argparse
from pathlib import Path

import polars as pl

from galaxysd.cli import main as galaxysd

CLASSES = ("smooth", "edge_on", "spiral")
RULES = """
name: toy
classes:  # a class: which galaxies of the generator's data belong to it, and what to generate for it
  - name: smooth
    where: t01_smooth_or_features_a01_smooth > 0.6
    prompt: smooth galaxy
  - name: edge_on
    where: t01_smooth_or_features_a01_smooth < 0.4 AND t02_edgeon_a04_yes > 0.6
    prompt: features or disk-shaped, edge-on galaxy
  - name: spiral
    where: t01_smooth_or_features_a01_smooth < 0.4 AND t04_spiral_a08_spiral > 0.6
    prompt: spiral galaxy
"""


def main() -> None:
    """A toy survey, a table of labels, rules for the classes, the experiment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("few-labels"))
    parser.add_argument("--model", default="mini")
    parser.add_argument("--encoder", default="galaxyemb")
    parser.add_argument("-n", type=int, default=600, help="galaxies of the toy survey")
    parser.add_argument("--shots", default="10", help="labels for each class")
    parser.add_argument("--quick", action="store_true", help="tiny trainings: tries the script, says nothing")
    args = parser.parse_args()
    survey, known, data = args.out / "mine", args.out / "known", args.out / "known-data"

    # Your survey, and another one that stands for the galaxies the generator has learned from.
    galaxysd(["toy", "--out", str(survey), "-n", str(args.n), "--seed", "1"])
    galaxysd(["toy", "--out", str(known), "-n", str(args.n), "--seed", "0"])
    votes, images = str(known / "votes.csv"), str(known / "images")
    galaxysd(["catalog", "build", "--votes", votes, "--images", images, "--survey", "sdss", "--out", str(data)])

    # Labels: what the toy galaxies truly are. Yours come from looking at them.
    truth = pl.read_parquet(survey / "truth.parquet")
    files = pl.read_csv(survey / "votes.csv", columns=["file", "ra", "dec"])
    labels = files.with_columns(truth["kind"].alias("class")).filter(pl.col("class").is_in(CLASSES))
    labels.write_csv(args.out / "labels.csv")
    (args.out / "rules.yaml").write_text(RULES, encoding="utf-8")

    experiment = ["augment", "--data", str(data), "--labels", str(args.out / "labels.csv")]
    experiment += ["--images", str(survey / "images"), "--rules", str(args.out / "rules.yaml")]
    experiment += ["--model", args.model, "--encoder", args.encoder, "--shots", args.shots, "--seeds", "2"]
    experiment += ["--set", "ratios=[3]", "--set", "gammas=[2]", "--set", "explore=false"]
    if args.quick:
        experiment += ["--set", "classifier.images=64", "--set", "classifier.fit.batch=8"]
        experiment += ["--set", "synthetic.per_class=20", "--set", "synthetic.steps=1"]
    else:
        experiment += ["--set", "classifier.images=8000", "--set", "synthetic.per_class=100"]
    galaxysd([*experiment, "--out", str(args.out / "report")])


if __name__ == "__main__":
    main()
