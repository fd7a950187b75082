"""Many galaxies of given morphologies, generated once and read from a file ever after.

In: a pipeline and a morphology per galaxy. Out: images in memory-mapped files, which an interrupted call goes on with:

    CACHE.npy    uint8 [N, S, S, 3]
    CACHE.json   what they are (model, sampling, seed, hash of the morphologies), and how many are done
"""

import hashlib
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from galaxysd.catalog.tree import DecisionTree
from galaxysd.data.framing import resize
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.diffusion.folder import SamplingSettings
from galaxysd.diffusion.pipeline import GalaxyPipeline, Request
from galaxysd.errors import InputError
from galaxysd.io import progress, write_atomically
from galaxysd.prompts import Morphology
from galaxysd.types import Pixels

PART = 16  # batches between two points to resume from


def synthesize(
    pipeline: GalaxyPipeline,
    morphologies: Sequence[Morphology],
    seed: int,
    cache: str | Path,
    *,
    sampling: SamplingSettings | None = None,
) -> Pixels:
    """One galaxy of each morphology, read from the cache as far as it is there.

    Args:
        pipeline: the generator.
        morphologies: what each galaxy is to be, N of them.
        seed: of the first galaxy; the following count up.
        cache: file (.npy) for the images; its record lies beside it.
        sampling: steps, guidance and sampler; None: the model's own.

    Returns:
        uint8 [N, S, S, 3], read-only; the images stay on disk until they are used.

    Raises:
        InputError: the generator does not know an answer or survey, or the cache holds other galaxies.
    """
    cache, sampling = Path(cache), sampling or pipeline.sampling()
    text = "\n".join(one.model_dump_json() for one in morphologies)
    identity = {
        "model": pipeline.model_hash,
        "sampling": sampling.model_dump(mode="json"),
        "seed": seed,
        "morphologies": hashlib.sha256(text.encode()).hexdigest()[:16],
    }
    shape = (len(morphologies), pipeline.size, pipeline.size, 3)
    done = _done(cache, identity) if cache.is_file() else 0
    if done < len(morphologies):
        cache.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.lib.format.open_memmap(cache, mode="r+" if done else "w+", dtype=np.uint8, shape=shape)
        requests = [Request(one, seed + index) for index, one in enumerate(morphologies)]
        batches = progress(pipeline.dream(requests[done:], sampling), len(requests) - done, "generating galaxies")
        while part := list(islice(batches, PART)):
            images = np.concatenate([block for _, block in part])
            pixels[done : done + len(images)] = images
            pixels.flush()
            done += len(images)
            write_atomically(_record(cache), json.dumps({**identity, "done": done}, indent=2) + "\n")
        del pixels
    found: Pixels = np.load(cache, mmap_mode="r", allow_pickle=False)
    if found.shape != shape or found.dtype != np.uint8:
        raise InputError(f"{cache}: holds {found.dtype} {list(found.shape)}, expected uint8 {list(shape)}; delete it")
    return found


def _record(cache: Path) -> Path:
    return cache.with_suffix(".json")


def _done(cache: Path, identity: dict[str, object]) -> int:
    """How many galaxies of a cache are finished."""
    try:
        record = json.loads(_record(cache).read_text(encoding="utf-8"))
        done = int(record.pop("done"))
    except (OSError, ValueError, KeyError, AttributeError):
        return 0
    if record != identity:
        keys = ", ".join(sorted(key for key in identity if record.get(key) != identity[key]))
        raise InputError(f"{cache}: holds other galaxies ({keys} differ); delete it or choose another folder")
    return done


def morphologies_of(galaxies: GalaxySet, tree: DecisionTree, surveys: Sequence[str]) -> list[Morphology]:
    """The morphology of each galaxy: the fractions of the questions that are known.

    Args:
        galaxies: with fractions.
        tree: whose answers the fractions are.
        surveys: tokens that `galaxies.survey` counts.
    """
    known = galaxies.known[:, tree.question_index]
    return [
        Morphology(
            survey=surveys[survey],
            fractions={name: float(value) for name, value, sure in zip(tree.columns, row, flags, strict=True) if sure},
        )
        for row, flags, survey in zip(galaxies.fractions, known, galaxies.survey, strict=True)
    ]


def synthesize_like(
    pipeline: GalaxyPipeline,
    like: GalaxySet,
    tree: DecisionTree,
    surveys: Sequence[str],
    *,
    sampling: SamplingSettings,
    seed: int,
    cache: Path,
) -> GalaxySet:
    """One generated galaxy for each galaxy of `like`, of its morphology and size; galaxy i has seed `seed` + i.

    Args:
        pipeline: the generator.
        like: real galaxies whose morphologies are asked for.
        tree: of `like`.
        surveys: tokens of `like`.
        sampling: how to sample.
        seed: of the first galaxy.
        cache: see `synthesize`.

    Raises:
        InputError: as `synthesize`.
    """
    images = synthesize(pipeline, morphologies_of(like, tree, surveys), seed, cache, sampling=sampling)
    if pipeline.size != like.size:
        images = np.stack([resize(image, like.size) for image in images])
    return GalaxySet(
        images,
        [f"generated:{seed + index}" for index in range(len(like))],
        labels=like.labels,
        fractions=like.fractions,
        known=like.known,
        survey=like.survey,
        synthetic=True,
    )
