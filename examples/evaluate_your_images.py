"""Judge images of any generator against real galaxies, and compare two sets of images.

    python examples/evaluate_your_images.py --images mine --images theirs --data DATASET --out judged

Without `--images` and `--data` it shows the idea on toy galaxies: a second toy survey must look like the first one, and
the same galaxies blurred must not.
"""

import argparse
from pathlib import Path

from PIL import Image, ImageFilter

from galaxysd.cli import main as galaxysd
from galaxysd.encoders.registry import load_encoder
from galaxysd.evaluation.compare import comparison_summary, write_comparison
from galaxysd.evaluation.evaluate import EvaluationSettings, evaluate
from galaxysd.evaluation.report import summary, write_page

READER = {"readers": 1, "widths": [16, 16], "images": 256}
QUICK = {"n": 16, "measured": 4, "readers": READER, "cas": READER}  # a trial of the script, not of the images


def toy_images(folder: Path, n: int) -> tuple[Path, list[Path]]:
    """A dataset of toy galaxies, and two folders of images: another toy survey, and the same blurred."""
    galaxysd(["toy", "--out", str(folder / "real"), "-n", str(n), "--seed", "0"])
    galaxysd(["toy", "--out", str(folder / "other"), "-n", str(n), "--seed", "1"])
    votes, images = str(folder / "real" / "votes.csv"), str(folder / "real" / "images")
    build = ["catalog", "build", "--votes", votes, "--images", images, "--survey", "sdss"]
    galaxysd([*build, "--out", str(folder / "data")])
    blurred = folder / "blurred"
    blurred.mkdir()
    for path in sorted((folder / "other" / "images").iterdir()):
        Image.open(path).filter(ImageFilter.GaussianBlur(1.5)).save(blurred / path.name)
    return folder / "data", [folder / "other" / "images", blurred]


def main() -> None:
    """One report for each folder of images; two of them are compared."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, action="append", help="folder or tar of images; may be repeated")
    parser.add_argument("--data", type=Path, help="dataset folder of real galaxies")
    parser.add_argument("--out", type=Path, default=Path("judged"))
    parser.add_argument("--encoder", default="galaxyemb")
    parser.add_argument("-n", type=int, default=2000, help="toy galaxies")
    parser.add_argument("--quick", action="store_true", help="tiny samples: tries the script, says nothing")
    args = parser.parse_args()

    data, images = (args.data, args.images) if args.images else toy_images(args.out / "toy", args.n)
    settings = EvaluationSettings.parse(QUICK if args.quick else {}, "settings")
    reports = []
    for number, folder in enumerate(images):
        out = args.out / f"report-{number}"
        encoder = load_encoder(args.encoder)
        report = evaluate([data], out, images=folder, encoder=encoder, settings=settings)
        print(f"{folder}\n{summary(report)}\nthe report is at {write_page(report, out)}\n")
        reports.append(out)
    if len(reports) == 2:
        page = args.out / "compared.html"
        print(f"{comparison_summary(write_comparison((reports[0], reports[1]), page))}\nthe comparison is at {page}")


if __name__ == "__main__":
    main()
