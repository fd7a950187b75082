"""The galaxies that the table of generators is measured on: what is asked for, and the images of one generator.

In: real galaxies (`Bench`), a model or arrays made elsewhere. Out: sets of images by name, each made once and kept as
WORK/samples/MODEL/NAME.npy with `requests.json`: what was asked for, so that another program can draw the same.

    votes, words                  the votes of held-out galaxies, and the same said in words
    spirals-votes, spirals-words  the same for spirals alone
    kind-NAME                     eight kinds from bare prompts, all from the same seeds
    pair-NAME                     four kinds in one frame from the same seeds
    sheet                         sixteen of each of the sixteen kinds of the published figure
    withheld                      the kind that training never saw
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from galaxysd.catalog.tree import DecisionTree
from galaxysd.data.framing import resize
from galaxysd.diffusion.data import DataSettings, GalaxyPool
from galaxysd.diffusion.pipeline import GalaxyPipeline, Request
from galaxysd.encoders.registry import load_encoder
from galaxysd.errors import InputError
from galaxysd.evaluation.cache import Cache, images_hash
from galaxysd.evaluation.reader import ReaderSettings
from galaxysd.evaluation.reference import ReferenceData
from galaxysd.io import replacing, write_atomically
from galaxysd.prompts import Morphology, Vocabulary, parse
from galaxysd.prompts.caption import confident
from galaxysd.prompts.frame import pick_survey
from galaxysd.types import Flags, Floats, Ints, Pixels

KINDS = {  # name: bare prompt, as a person types it
    "round": "completely round galaxy",
    "in-between": "in-between round galaxy",
    "cigar": "cigar shaped galaxy",
    "edge-on": "edge-on galaxy",
    "spiral": "spiral galaxy",
    "bar": "barred spiral galaxy",
    "ring": "ring galaxy",
    "merger": "merger",
}
PAIRS = ("round", "in-between", "cigar", "edge-on")
SIXTEEN = (  # the legend of the published figure, without its weights
    "cigar shaped galaxy",
    "completely round galaxy",
    "edge-on galaxy",
    "in-between round galaxy",
    "ring galaxy",
    "spiral galaxy, 4 spiral arms",
    "spiral galaxy, loosely wound spiral arms, 2 spiral arms",
    "spiral galaxy, tightly wound spiral arms",
    "spiral galaxy, just noticeable bulge prominence",
    "spiral galaxy, obvious bulge prominence",
    "in-between round galaxy, dust lane",
    "edge-on galaxy, dust lane, with rounded edge-on bulge",
    "barred galaxy",
    "edge-on galaxy, with rounded edge-on bulge",
    "in-between round galaxy, merger",
    "spiral galaxy, just noticeable bulge prominence, merger",
)
WITHHELD = "early-type galaxy, dust lane"
TEACHERS = 3000  # training galaxies that Fréchet distances and the network of the pixel test use
PAIR_FRAME = "sdss-r90"


@dataclass(frozen=True)
class Sample:
    """Galaxies with what was voted of them.

    Attributes:
        images: uint8 [N, S, S, 3].
        fractions: [N, A], 0 where unknown.
        known: [N, Q].
        survey: [N] index of the survey token.
    """

    images: Pixels
    fractions: Floats
    known: Flags
    survey: Ints

    def __len__(self) -> int:
        return len(self.images)

    def take(self, places: Ints) -> "Sample":
        """Some of the galaxies."""
        return Sample(self.images[places], self.fractions[places], self.known[places], self.survey[places])


def real_sample(pool: GalaxyPool, places: Ints) -> Sample:
    """Galaxies of a pool."""
    told = pool.condition(places)
    images = np.ascontiguousarray(pool.images(places).permute(0, 2, 3, 1).numpy())
    return Sample(images, told.fractions.double().numpy(), told.known.numpy(), told.survey.numpy())


def morphologies(sample: Sample, tree: DecisionTree, surveys: Sequence[str]) -> list[Morphology]:
    """The morphology of each galaxy: the fractions of the questions that are known."""
    known = sample.known[:, tree.question_index]
    return [
        Morphology(
            survey=surveys[survey],
            fractions={name: float(value) for name, value, told in zip(tree.columns, row, flags, strict=True) if told},
        )
        for row, flags, survey in zip(sample.fractions, known, sample.survey, strict=True)
    ]


def at_size(images: Pixels, size: int) -> Pixels:
    """Images uint8 [N, S, S, 3] at another size by the one resize rule, or as they are."""
    return images if images.shape[1] == size else np.stack([resize(image, size) for image in images])


class Bench:
    """Real galaxies with everything that is asked of them.

    Attributes:
        ground: training, `val` and `test` galaxies, with the withheld kind left out.
        cache: of results.
        n: galaxies in a sample.
        per_kind: galaxies of each of the eight kinds.
        seed: of every draw.
        trees: the questions that each survey asks.
    """

    def __init__(
        self, folders: Sequence[Path], work: Path, *, n: int, per_kind: int, seed: int, readers: ReaderSettings
    ) -> None:
        recipe = yaml.safe_load((files("galaxysd.diffusion") / "recipes" / "mini.yaml").read_text(encoding="utf-8"))
        self.withhold = tuple(recipe["data"]["withhold"])
        self.cache = Cache(work / "cache")
        self.ground = ReferenceData(
            folders, DataSettings(withhold=self.withhold), load_encoder("galaxyemb"), self.cache
        )
        self.n, self.per_kind, self.seed = n, per_kind, seed
        self.tree, self.surveys = self.ground.tree, self.ground.surveys
        self.trees = {dataset.survey: dataset.tree for dataset in self.ground.datasets}
        self.vocabulary = Vocabulary.load(self.tree, self.surveys)
        self.readers = readers

    def _order(self, split: str) -> Ints:
        return np.random.default_rng(self.seed).permutation(len(self.ground.pools[split]))

    @cached_property
    def val(self) -> Sample:
        """Held-out galaxies whose votes are asked for, in random order."""
        return real_sample(self.ground.pools["val"], self._order("val")[: self.n])

    @cached_property
    def test(self) -> Sample:
        """Other held-out galaxies: what is compared with."""
        return real_sample(self.ground.pools["test"], self._order("test")[: self.n])

    @cached_property
    def rest(self) -> Sample:
        """All other galaxies of `test`."""
        return real_sample(self.ground.pools["test"], np.sort(self._order("test")[self.n :]))

    @cached_property
    def teachers(self) -> Sample:
        """Training galaxies."""
        return real_sample(self.ground.pools["train"], np.sort(self._order("train")[:TEACHERS]))

    @cached_property
    def held_out(self) -> list[tuple[GalaxyPool, Morphology, int]]:
        """All galaxies of `val` and `test`, with what most volunteers agreed on."""
        found = []
        for split in ("val", "test"):
            pool = self.ground.pools[split]
            told = real_conditions(pool)
            asked = morphologies(told, self.tree, self.surveys)
            found += [(pool, self.agreed(one), row) for row, one in enumerate(asked)]
        return found

    def agreed(self, morphology: Morphology) -> Morphology:
        """What most volunteers agreed on, by the questions of the galaxy's own survey: others have no way to them."""
        return confident(morphology, self.trees[morphology.survey or self.surveys[0]])

    def real_of(self, columns: Sequence[str], survey: str | None, limit: int) -> Sample:
        """Held-out galaxies of which volunteers agreed on all of some answers; of one survey where it has enough."""

        def chosen(only: str | None) -> list[tuple[GalaxyPool, int]]:
            return [
                (pool, row)
                for pool, one, row in self.held_out
                if (only is None or one.survey == only) and all(_largest(one, column, self.tree) for column in columns)
            ]

        places = chosen(survey)
        if len(places) < 30:
            places = chosen(None)
        order = np.random.default_rng(self.seed).permutation(len(places))[:limit]
        parts = [real_sample(pool, np.array([row])) for pool, row in (places[index] for index in order)]
        if not parts:
            return self.val.take(np.empty(0, np.int64))
        return Sample(*(np.concatenate(arrays) for arrays in zip(*(_fields(part) for part in parts), strict=True)))

    @cached_property
    def spirals(self) -> Sample:
        """Held-out spirals of all frames, in random order."""
        return self.real_of(["t04_spiral_a08_spiral"], None, self.n)

    def frame(self, morphology: Morphology) -> str:
        """The frame of a prompt: its own, or the one that the program picks."""
        if morphology.survey is not None:
            return morphology.survey
        return pick_survey(morphology, self.evidence, self.vocabulary).survey or self.surveys[0]

    @cached_property
    def evidence(self) -> dict[str, dict[str, int]]:
        """Training galaxies of each survey with each answer."""
        counts = self.ground.pools["train"].evidence_by_survey()
        return {survey: {name: n for name, n in one.items() if name != "all"} for survey, one in counts.items()}

    def bare(self, prompt: str) -> Morphology:
        """A bare prompt in the frame that is picked for it."""
        morphology = parse(prompt, self.vocabulary)
        return morphology.model_copy(update={"survey": self.frame(morphology)})

    def columns(self, prompt: str) -> list[str]:
        """The answers that a prompt names."""
        return [column for column, value in parse(prompt, self.vocabulary).fractions.items() if value > 0.5]

    def requests(self) -> dict[str, list[Request]]:
        """Everything that is asked of a generator, by set."""
        seed = self.seed

        def asked(sample: Sample, words: bool, first: int) -> list[Request]:
            told = morphologies(sample, self.tree, self.surveys)
            said = [self.agreed(one).rounded(self.tree) if words else one for one in told]
            return [Request(one, first + index) for index, one in enumerate(said)]

        def repeated(morphology: Morphology, count: int, first: int) -> list[Request]:
            return [Request(morphology, first + index) for index in range(count)]

        found = {
            "votes": asked(self.val, False, seed + 10_000),
            "words": asked(self.val, True, seed + 20_000),
            "sheet": [request for prompt in SIXTEEN for request in repeated(self.bare(prompt), 16, seed + 30_000)],
            "spirals-words": asked(self.spirals, True, seed + 40_000),
            "spirals-votes": asked(self.spirals, False, seed + 50_000),
        }
        for name, prompt in KINDS.items():
            found[f"kind-{name}"] = repeated(self.bare(prompt), self.per_kind, seed + 60_000)
        frame = PAIR_FRAME if PAIR_FRAME in self.surveys else self.surveys[0]
        for name in PAIRS:
            fixed = self.bare(KINDS[name]).model_copy(update={"survey": frame})
            found[f"pair-{name}"] = repeated(fixed, min(64, self.n), seed + 70_000)
        found["withheld"] = repeated(self.bare(WITHHELD), 64, seed + 80_000)
        return found


def real_conditions(pool: GalaxyPool) -> Sample:
    """What was voted of all galaxies of a pool, without their images."""
    told = pool.condition(np.arange(len(pool)))
    nothing = np.empty((len(pool), 0, 0, 3), np.uint8)
    return Sample(nothing, told.fractions.double().numpy(), told.known.numpy(), told.survey.numpy())


def _fields(sample: Sample) -> tuple[Pixels, Floats, Flags, Ints]:
    return sample.images, sample.fractions, sample.known, sample.survey


def _largest(morphology: Morphology, column: str, tree: Any) -> bool:
    columns = tree.question_of[column].columns
    values = [morphology.fractions.get(name, 0.0) for name in columns]
    return max(values) > 0 and columns[int(np.argmax(values))] == column


class Made:
    """The images of one generator.

    Attributes:
        name: for the table.
        hash: of the model, or of the arrays.
        key: of everything that the images depend on.
        frames: survey of each bare set that was drawn elsewhere.
        plain: images come without what was asked for.
    """

    def __init__(self, name: str, identity: str, folder: Path | None, size: int, limit: int) -> None:
        self.name, self.hash, self.key, self.folder, self.size, self.limit = (
            name,
            identity,
            identity,
            folder,
            size,
            limit,
        )
        self.frames: dict[str, str] = {}
        self.plain = False
        self._held: dict[str, Pixels] = {}

    def get(self, name: str) -> Pixels | None:
        """Images of a set uint8 [N, S, S, 3] at the size of the real ones; None where there are none."""
        if name not in self._held:
            path = None if self.folder is None else self.folder / f"{name}.npy"
            if path is None or not path.is_file():
                return None
            self._held[name] = at_size(np.load(path, allow_pickle=False), self.size)
        images = self._held[name]
        return images[: self.limit] if name in ("votes", "words") else images


def from_model(bench: Bench, model: str, work: Path, requests: Mapping[str, list[Request]]) -> Made:
    """Draw all sets with a model; those that are there already are kept.

    Raises:
        InputError: no such model, or it does not know an answer or a survey.
    """
    pipeline = GalaxyPipeline.from_pretrained(model)
    identity = f"{pipeline.model_hash}-{requests_hash(requests)}"
    folder = work / "samples" / identity
    folder.mkdir(parents=True, exist_ok=True)
    write_requests(folder / "requests.json", requests)
    settings = pipeline.sampling()
    for name, asked in requests.items():
        path = folder / f"{name}.npy"
        if not path.is_file():
            print(f"drawing {len(asked)} galaxies: {name}", flush=True)
            images = np.concatenate([images for _, images in pipeline.dream(asked, settings)])
            with replacing(path) as partial:
                np.save(partial, images, allow_pickle=False)
    made = Made(model, pipeline.model_hash, folder, bench.ground.size, len(bench.val))
    made.key = identity
    return made


def from_arrays(bench: Bench, name: str, path: Path, work: Path) -> Made:
    """Images that were made elsewhere: a folder of `SET.npy`, a .npz of such arrays, or a folder of pictures.

    Raises:
        InputError: it holds none of them.
    """
    size = bench.ground.size
    if path.is_dir() and list(path.glob("*.npy")):
        made = Made(name, "", path, size, len(bench.val))
        names = sorted(one.stem for one in path.glob("*.npy"))
        sheet = path / "requests.json"
        if sheet.is_file():
            told = json.loads(sheet.read_text(encoding="utf-8"))
            made.frames = {one: asked[0]["survey"] for one, asked in told.items() if asked}
    elif path.suffix == ".npz":
        made = Made(name, "", None, size, len(bench.val))
        with np.load(path, allow_pickle=False) as archive:
            names = list(archive)
            made._held = {one: at_size(archive[one], size) for one in names}
    else:
        from galaxysd.evaluation.external_images import ExternalImages

        given = ExternalImages(path).read(bench.n, bench.tree, bench.surveys, size=size, seed=bench.seed)
        made, names = Made(name, "", None, size, len(bench.val)), ["votes"]
        made.plain, made._held = True, {"votes": given.sample.images}
    if not names:
        raise InputError(f"{path}: holds no arrays and no pictures")
    total = [images_hash(images) for one in names if (images := made.get(one)) is not None]
    made.hash = made.key = images_hash(np.frombuffer("".join(total).encode(), np.uint8).reshape(1, -1))
    return made


def requests_hash(requests: Mapping[str, list[Request]]) -> str:
    """8 hex digits of what is asked for."""
    text = json.dumps(as_json(requests), sort_keys=True)
    return images_hash(np.frombuffer(text.encode(), np.uint8).reshape(1, -1))[:8]


def as_json(requests: Mapping[str, list[Request]]) -> dict[str, list[dict[str, Any]]]:
    """Wishes as plain values."""
    return {
        name: [
            {"survey": one.morphology.survey, "fractions": one.morphology.fractions, "seed": one.seed} for one in asked
        ]
        for name, asked in requests.items()
    }


def write_requests(path: Path, requests: Mapping[str, list[Request]]) -> None:
    """What is asked for, as a file that another program can draw from."""
    write_atomically(path, json.dumps(as_json(requests)) + "\n")
