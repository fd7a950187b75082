"""Scoring on Ray Data: the same chunks, the same ranker, on as many processes and machines as Ray has.

In: chunks (descriptions, not pixels). Out: their parts, written by the workers themselves to a folder all of them see;
only counts travel back, so memory does not grow with the survey. A worker that dies is replaced and its chunk done
again: a part is whole or not there.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from galaxysd.errors import InputError
from galaxysd.search.survey import Chunk

Ranker = TypeVar("Ranker")


class Worker(Generic[Ranker]):
    """Scores chunks in a process of its own, with a ranker sent to it once (the calling shape of `map_batches`)."""

    def __init__(self, score: Callable[[Chunk, Ranker], int], ranker: Ranker) -> None:
        import torch

        torch.set_num_threads(1)  # one process per core
        self.score, self.ranker = score, ranker

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Batch of one chunk (as JSON) -> the number of its images."""
        return {"images": [self.score(Chunk.model_validate_json(text), self.ranker) for text in batch["chunk"]]}


def on_ray(
    chunks: list[Chunk], score: Callable[[Chunk, Ranker], int], ranker: Ranker, workers: int | None
) -> Iterator[int]:
    """Score chunks; yields the number of images of each as it is done.

    Args:
        chunks: what is left to do.
        score: writes the part of a chunk to a folder shared by all machines, and counts its images; picklable.
        ranker: who scores; picklable.
        workers: processes, by default one per core of the cluster.

    Raises:
        InputError: Ray is not installed or cannot be started, or a file of the survey cannot be read.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise InputError(
            "engine 'ray': Ray is not installed; pip install 'galaxysd[scale]' or use engine 'process'"
        ) from None
    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    shown, context.enable_progress_bars = context.enable_progress_bars, False
    try:
        size = workers or int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
        listed = ray.data.from_items(
            [{"chunk": chunk.model_dump_json()} for chunk in chunks], override_num_blocks=len(chunks)
        )
        counted = listed.map_batches(
            Worker,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(size, len(chunks))),
            num_cpus=1,
            fn_constructor_kwargs={"score": score, "ranker": ranker},
        )
        for row in counted.iter_rows():
            yield int(row["images"])
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, InputError):
            raise cause from None
        raise
    finally:
        context.enable_progress_bars = shown
        if started:
            ray.shutdown()
