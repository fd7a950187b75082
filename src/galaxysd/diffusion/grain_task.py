"""The grain stage as a task for training/fit.py.

Loss: E[ |F - F*|^2 ], the error of the denoised residual divided by c_out (flow.py with unit spread), on crops.
Noise levels: log(s / (1 - s)) ~ N(level_mean, level_deviation).
"""

from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from galaxysd.data.transforms import dihedral
from galaxysd.diffusion import flow
from galaxysd.diffusion.autoencoder import Autoencoder, to_pixels, to_unit
from galaxysd.diffusion.data import GalaxyPool, Pool
from galaxysd.diffusion.grain import GrainNetwork
from galaxysd.errors import InputError
from galaxysd.reports.contact_sheet import contact_sheet
from galaxysd.settings import Settings
from galaxysd.training.ema import swapped


class GrainTaskSettings(Settings):
    """What the grain stage is trained on."""

    level_mean: float = Field(default=0.0, description="mean of log noise to signal of the residual")
    level_deviation: float = Field(default=1.6, gt=0, description="deviation of log noise to signal")
    crop: int = Field(default=32, ge=8, description="side of the crops, px")


class GrainData:
    """Images beside their reconstructions (the `Data` protocol of training/fit.py)."""

    def __init__(self, pool: GalaxyPool, autoencoder: Autoencoder, path: Path) -> None:
        """Decode every galaxy of the pool once, into a flat file at `path`.

        Raises:
            InputError: the images have another size than the autoencoder's, or the file cannot be written.
        """
        from galaxysd.data.dataset import PixelFile  # tables are not there on a bare training machine

        if pool.size != autoencoder.settings.size:
            raise InputError(
                f"the datasets have images of {pool.size} px, the autoencoder reads {autoencoder.settings.size} px"
            )
        self.pool = pool
        if not path.is_file() or path.stat().st_size != len(pool) * 3 * pool.size**2:
            _decode_all(pool, autoencoder, path)
        self.decoded = PixelFile(path, count=len(pool), size=pool.size)

    def spread(self, sample: int = 2_000) -> float:
        """Deviation of image minus reconstruction, in [-1, 1]."""
        chosen = np.linspace(0, len(self.pool) - 1, min(sample, len(self.pool))).astype(np.int64)
        decoded = torch.from_numpy(self.decoded.read(chosen))
        return max(float((to_unit(self.pool.images(chosen)) - to_unit(decoded)).std()), 1e-3)

    def batch(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Random galaxies, all alike, in random orientation: `images`, `decoded`, `survey`."""
        indices = torch.randint(len(self.pool), (size,), generator=generator).numpy()
        orientation = torch.randint(8, (size,), generator=generator)
        return {
            "images": dihedral(self.pool.images(indices), orientation),
            "decoded": dihedral(torch.from_numpy(self.decoded.read(indices)), orientation),
            "survey": torch.from_numpy(self.pool.survey[indices]).long(),
        }


@torch.no_grad()
def _decode_all(pool: GalaxyPool, autoencoder: Autoencoder, path: Path) -> None:
    temporary = path.with_name(path.name + ".tmp")
    device = next(autoencoder.parameters()).device
    console = Console(stderr=True)
    try:
        with temporary.open("wb") as file:
            starts = range(0, len(pool), 64)
            for start in track(starts, "decoding", console=console, disable=not console.is_terminal, transient=True):
                images = to_unit(pool.images(np.arange(start, min(len(pool), start + 64)))).to(device)
                drawn = to_pixels(autoencoder.decode(autoencoder.encode(images)))
                file.write(drawn.cpu().contiguous().numpy().tobytes())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{path}: reconstructions cannot be written ({error})") from None


class GrainTask:
    """Train a `GrainNetwork` (protocol `Task` of training/fit.py)."""

    def __init__(
        self, grain: GrainNetwork, autoencoder: Autoencoder, settings: GrainTaskSettings, held_out: Pool
    ) -> None:
        """Args: grain: it learns. autoencoder: makes the held-out reconstructions. settings, held_out: as they say."""
        self.model: nn.Module = grain
        self.grain, self.settings = grain, settings
        indices = np.linspace(0, len(held_out) - 1, min(96, len(held_out))).astype(np.int64)
        self.held_images = held_out.images(indices)
        self.held_survey = torch.from_numpy(held_out.survey[indices]).long()
        with torch.no_grad():
            device = next(autoencoder.parameters()).device
            self.held_decoded = autoencoder.decode(autoencoder.encode(to_unit(self.held_images).to(device))).cpu()

    def prepare(self, batch: dict[str, Tensor], generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        """One random crop for the batch, noise and levels."""
        images, decoded = to_unit(batch["images"]), to_unit(batch["decoded"])
        side = min(self.settings.crop, images.shape[-1])
        device = generator.device  # everything random is drawn where the generator lives, and nothing waits for it
        corner = torch.randint(images.shape[-1] - side + 1, (2, 1), generator=generator, device=device)
        rows, columns = corner + torch.arange(side, device=device)
        images, decoded = images[..., rows[:, None], columns], decoded[..., rows[:, None], columns]
        level = flow.sample_levels(len(images), self.settings.level_mean, self.settings.level_deviation, generator)
        return {
            "residual": (images - decoded) / self.grain.settings.spread,
            "decoded": decoded,
            "survey": batch["survey"],
            "level": level,
            "noise": torch.randn(images.shape, generator=generator, device=device),
        }

    def loss(
        self, model: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """The loss of a prepared batch."""
        residual, level = batch["residual"], batch["level"]
        noisy = flow.add_noise(residual, batch["noise"], level)
        denoised = model(noisy, level, batch["decoded"], batch["survey"])
        return (flow.loss_weight(level, 1.0, 0.02) * (denoised - residual).square()).mean(), {}

    @torch.no_grad()
    def snapshot(self, weights: dict[str, Tensor], folder: Path, images_seen: int) -> dict[str, float]:
        """Loss on whole held-out galaxies, and `samples-<images>.png`: galaxies, reconstructions, and with grain."""
        generator = torch.Generator().manual_seed(0)
        device = next(self.grain.parameters()).device
        residual = (to_unit(self.held_images) - self.held_decoded) / self.grain.settings.spread
        level = flow.sample_levels(len(residual), self.settings.level_mean, self.settings.level_deviation, generator)
        noise = torch.randn(residual.shape, generator=generator)
        with swapped(self.grain, weights):
            noisy = flow.add_noise(residual, noise, level)
            told = (self.held_decoded.to(device), self.held_survey.to(device))
            denoised = self.grain(noisy.to(device), level.to(device), *told).cpu()
            drawn = self.grain.add(*told, noise.to(device)).cpu()
        held_out = (flow.loss_weight(level, 1.0, 0.02) * (denoised - residual).square()).mean()
        shown = {"galaxy": self.held_images, "decoded": to_pixels(self.held_decoded), "with grain": to_pixels(drawn)}
        rows = [(name, images[:8].permute(0, 2, 3, 1).numpy()) for name, images in shown.items()]
        contact_sheet(rows).save(folder / f"samples-{images_seen:012d}.png")
        return {"held_out": round(float(held_out), 5)}
