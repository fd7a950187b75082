"""GalaxyPipeline: prompts in, galaxies out.

    pipeline = GalaxyPipeline.from_pretrained("mini")
    galaxies = pipeline("sdss, edge-on galaxy", n=4, seed=0)
    galaxies.pil()[0].save("galaxy.png")

Every galaxy has a seed of its own and is computed in a batch of one fixed shape, so that it comes out the same alone or
among a million.
"""

import base64
import io
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from galaxysd.diffusion.autoencoder import to_pixels
from galaxysd.diffusion.condition import Condition, encode
from galaxysd.diffusion.folder import Model, SamplingSettings, load_model, save_model
from galaxysd.diffusion.guidance import GuidedDenoiser, rarest_answer
from galaxysd.diffusion.samplers import Watch, sample
from galaxysd.errors import InputError
from galaxysd.prompts import Morphology, Vocabulary, caption, parse
from galaxysd.prompts.frame import pick_survey

Pixels = npt.NDArray[np.uint8]

BATCH = 16  # galaxies computed together; always exactly so many, see the module text
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Request:
    """One galaxy to be dreamed."""

    morphology: Morphology
    seed: int


@dataclass(frozen=True, repr=False)
class Galaxies:
    """Generated galaxies; has a length, can be indexed and sliced, and shows itself in a notebook.

    Attributes:
        images: uint8 [N, S, S, 3].
        requests: the request behind each.

    Example:
        >>> galaxies = GalaxyPipeline.from_pretrained("mini")("ring galaxy", n=4)
        >>> len(galaxies), galaxies[:2].images.shape
        (4, (2, 64, 64, 3))
    """

    images: Pixels
    requests: tuple[Request, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, which: int | slice) -> "Galaxies":
        """One galaxy or some of them, as `Galaxies`."""
        rows = slice(which, which + 1 or None) if isinstance(which, int) else which
        if isinstance(which, int) and not -len(self) <= which < len(self):
            raise IndexError(f"galaxy {which} of {len(self)}")
        return Galaxies(self.images[rows], self.requests[rows])

    def __repr__(self) -> str:
        side = self.images.shape[1]
        return f"Galaxies({len(self)} of {side} x {side} px)"

    def pil(self) -> list[Image.Image]:
        """The galaxies as PIL images."""
        return [Image.fromarray(image) for image in self.images]

    def _repr_html_(self) -> str:
        """Up to 64 galaxies in a row of pictures, for notebooks."""
        tags = []
        for image in self.pil()[:64]:
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            data = base64.b64encode(buffer.getvalue()).decode("ascii")
            tags.append(f'<img alt="galaxy" width="128" src="data:image/png;base64,{data}">')
        return "".join(tags)


class GalaxyPipeline:
    """A trained generator, ready to dream.

    Attributes:
        denoiser: the latent flow.
        autoencoder: its latents <-> images.
        grain: the grain stage, or none.
        record: what the model folder says of it.
        model_hash: 16 hex digits over weights and meaning.
        vocabulary: the words it understands.
    """

    def __init__(self, model: Model) -> None:
        self.denoiser, self.autoencoder, self.grain = model.denoiser, model.autoencoder, model.grain
        self.record, self.model_hash = model.record, model.hash
        self.vocabulary = Vocabulary.load(model.record.tree, model.denoiser.surveys)

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, *, device: str = "cpu") -> Self:
        """Load a shipped model (`mini`) or a model folder.

        Raises:
            InputError: no such model, or a file in it is missing, changed or a pickle.
        """
        return cls(load_model(name_or_folder, find_device(device)))

    def save_pretrained(self, folder: str | Path, *, card: str = "") -> None:
        """Write the model as a folder that `from_pretrained` reads."""
        save_model(
            Path(folder), self.record, card, autoencoder=self.autoencoder, denoiser=self.denoiser, grain=self.grain
        )

    @property
    def size(self) -> int:
        """Side of an image in pixels."""
        return self.autoencoder.settings.size

    def understand(self, prompt: str | Morphology) -> Morphology:
        """A prompt as a morphology this model can be asked for.

        Raises:
            InputError: an unknown word, survey or answer.
        """
        morphology = parse(prompt, self.vocabulary) if isinstance(prompt, str) else prompt
        morphology.check(self.record.tree)
        return morphology

    def framed(self, morphology: Morphology) -> Morphology:
        """A morphology with the survey to draw it in: its own, or the one whose galaxies show it best."""
        picked = pick_survey(morphology, self.record.evidence_by_survey, self.vocabulary).survey
        return morphology if picked == morphology.survey else morphology.model_copy(update={"survey": picked})

    def caption(self, morphology: Morphology) -> str:
        """The canonical prompt for a morphology."""
        return caption(morphology, self.vocabulary)

    def sampling(
        self,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        sampler: str | None = None,
    ) -> SamplingSettings:
        """The model's own sampling settings with some replaced.

        Raises:
            InputError: a value out of range.
        """
        values = self.record.sampling.model_dump()
        if steps is not None:
            values["steps"] = steps
        if sampler is not None:
            values["sampler"] = sampler
        if guidance is not None:
            values["guidance"]["scale"] = guidance
        return SamplingSettings.parse(values, "sampling")

    def __call__(
        self,
        prompt: str | Morphology | Sequence[str | Morphology] = "",
        *,
        n: int = 1,
        seed: int = 0,
        steps: int | None = None,
        guidance: float | None = None,
        sampler: str | None = None,
        watch: Watch | None = None,
    ) -> Galaxies:
        """Dream `n` galaxies of each prompt; galaxy i (counted over all) has seed `seed` + i.

        A prompt that names no survey is drawn in the frame of the survey that shows it best (prompts/frame.py).

        Args:
            prompt: a prompt, a morphology, or several of them.
            n: galaxies per prompt.
            seed: first seed.
            steps: noise levels, default from the model.
            guidance: guidance scale, 1 for none, default from the model.
            sampler: euler, heun or dpm++2m, default from the model.
            watch: called after every step of a batch with the step (from 1), the number of steps and the latents
                expected so far (`preview` makes images of them); True stops. It changes no pixel.

        Raises:
            InputError: a prompt or a value that makes no sense.
            Cancelled: `watch` asked to stop.
        """
        n, seed = whole(n, "n"), whole(seed, "seed")
        if n < 1:
            raise InputError(f"n must be at least 1, not {n}")
        check_seed(seed)
        prompts = [prompt] if isinstance(prompt, str | Morphology) else list(prompt)
        if not prompts:
            raise InputError("no prompt was given")
        morphologies = [self.framed(self.understand(one)) for one in prompts for _ in range(n)]
        requests = tuple(Request(morphology, seed + index) for index, morphology in enumerate(morphologies))
        settings = self.sampling(steps=steps, guidance=guidance, sampler=sampler)
        return Galaxies(np.concatenate([images for _, images in self.dream(requests, settings, watch=watch)]), requests)

    def dream(
        self, requests: Iterable[Request], settings: SamplingSettings, *, watch: Watch | None = None
    ) -> Iterator[tuple[tuple[Request, ...], Pixels]]:
        """Dream any number of galaxies, a batch at a time.

        Yields:
            The requests of a batch and their images, uint8 [B, S, S, 3].
        """
        remaining = iter(requests)
        while batch := tuple(islice(remaining, BATCH)):
            yield batch, self._dream_batch(batch, settings, watch)

    @torch.inference_mode()
    def _dream_batch(
        self, requests: tuple[Request, ...], settings: SamplingSettings, watch: Watch | None = None
    ) -> Pixels:
        device = next(self.denoiser.parameters()).device
        padded = [*requests, *[requests[-1]] * (BATCH - len(requests))]
        tree = self.record.tree
        condition = encode([request.morphology for request in padded], tree, self.denoiser.surveys)
        weights = torch.ones(condition.known.shape)
        for row, request in enumerate(padded):
            for key, weight in request.morphology.weighted_questions(tree).items():
                weights[row, tree.questions.index(tree.by_key[key])] = weight
        shape = self.denoiser.unet.settings
        starts = [galaxy_noise(request.seed, (shape.channels, shape.size), (3, self.size)) for request in padded]
        noise, grain_noise = (torch.stack(parts).to(device) for parts in zip(*starts, strict=True))
        answers = self.denoiser.answers_of.cpu()
        evidence = torch.tensor([self.record.evidence.get(column, 0) for column in tree.columns])
        rarest = rarest_answer(condition, answers, evidence) * weights.clamp(max=1)  # above 1 burns out
        condition = condition.to(device)
        denoise = GuidedDenoiser(self.denoiser, condition, weights.to(device), rarest.to(device), settings.guidance)
        latents = sample(denoise, noise, settings.sampler, settings.steps, watch=watch)
        images = self.render(latents, condition, grain_noise)
        pixels = to_pixels(images[: len(requests)]).permute(0, 2, 3, 1)
        return np.ascontiguousarray(pixels.cpu().numpy())

    def to(self, device: str | torch.device) -> Self:
        """Move the networks to a device, and return the pipeline.

        Raises:
            InputError: unknown, or not present on this machine.
        """
        target = find_device(str(device))
        for network in (self.denoiser, self.autoencoder, self.grain):
            if network is not None:
                network.to(target)
        return self

    def __repr__(self) -> str:
        surveys = ", ".join(self.denoiser.surveys)
        return f"GalaxyPipeline({self.size} px, surveys {surveys}, model {self.model_hash})"

    @torch.inference_mode()
    def preview(self, latents: torch.Tensor) -> Pixels:
        """What latents [B, C, h, w] look like without grain, uint8 [B, S, S, 3]: for pictures while sampling."""
        return to_pixels(self.autoencoder.decode(latents)).permute(0, 2, 3, 1).cpu().numpy()

    @torch.inference_mode()
    def render(self, latents: torch.Tensor, condition: Condition, grain_noise: torch.Tensor) -> torch.Tensor:
        """Latents [B, C, h, w] -> images [B, 3, S, S] about in [-1, 1]: the decoder, then the grain stage."""
        decoded = self.autoencoder.decode(latents)
        return decoded if self.grain is None else self.grain.add(decoded, condition.survey, grain_noise)


def galaxy_noise(seed: int, *shapes: tuple[int, int]) -> list[torch.Tensor]:
    """The start of a galaxy: standard normal [C, S, S] for each (C, S), one after the other from one generator.

    Drawn on the CPU, so that every device starts alike.
    """
    generator = np.random.default_rng(seed)  # all 63 bits count; torch's own generator uses 32 of them
    drawn = (generator.standard_normal((channels, side, side), dtype=np.float32) for channels, side in shapes)
    return [torch.from_numpy(values) for values in drawn]


def whole(value: object, name: str) -> int:
    """A whole number, also of numpy's types.

    Raises:
        InputError: anything else.
    """
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"{name} must be a whole number, not {value!r}") from None


def check_seed(seed: int) -> None:
    """Raises InputError unless 0 <= seed < 2^63."""
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed must lie between 0 and {MAX_SEED}, not {seed}")


def find_device(name: str) -> torch.device:
    """A torch device by name.

    Raises:
        InputError: unknown, or not present on this machine.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()  # `meta` holds no numbers to copy
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r} cannot be used ({str(error).splitlines()[0]})") from None
    return device
