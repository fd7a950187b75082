"""Pretrained vision models as encoders: `transformers:NAME`, `transformers:FOLDER` and `zoobot:NAME`.

In: uint8 images [N, S, S, 3]. Out: float32 features [N, D], the model's own pooled output, or the mean over its last
tokens or positions where it has none (or an untrained one).

Both libraries are optional. Models of ImageNet are `transformers:facebook/dinov2-small`,
`transformers:microsoft/resnet-18`, `transformers:facebook/convnextv2-atto-1k-224` and their like; those of Galaxy Zoo
(Walmsley et al. 2023, JOSS 8, 5312) come through the zoobot package, `zoobot:mwalmsley/zoobot-encoder-convnext_nano`,
which resizes by rule 1 below to 224 px and takes pixels in [0, 1] as they are.

What is done to the images, here and not by the library's image processors:

1. the whole image is resized to side x side with an antialiased bicubic filter, nothing is cropped away; the side is
   the model's `crop_size`, else `size` (preprocessor_config.json), else `image_size` (config.json), else 224 px;
2. pixels in [0, 1] minus `image_mean`, divided by `image_std` (preprocessor_config.json), else those of ImageNet.

Weights are read from safetensors only, and no code of a model's author is run. A folder never needs the network; a name
is looked up among the models already downloaded, then on the hub.
"""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from galaxysd.encoders.galaxyemb import check_images, fingerprint, in_blocks
from galaxysd.errors import InputError
from galaxysd.nn import fast_precision
from galaxysd.settings import Settings
from galaxysd.types import Features, Pixels

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
UNIMPORTANT = ("_name_or_path", "transformers_version", "architectures", "dtype")  # in a config: not what it computes

T = TypeVar("T")


class Preparation(Settings):
    """What is done to the images."""

    side: int = Field(default=224, ge=1, description="px")
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    @classmethod
    def of(cls, config: dict[str, Any], processor: dict[str, Any], source: str) -> "Preparation":
        """The rule above, from the contents of config.json and preprocessor_config.json (empty where absent).

        Raises:
            InputError: they say something else than a side and three means and deviations.
        """
        told = (_side(processor.get("crop_size")), _side(processor.get("size")), _side(config.get("image_size")))
        values = {
            "side": next((side for side in told if side is not None), None),
            "mean": processor.get("image_mean"),
            "std": processor.get("image_std"),
        }
        return cls.parse({name: value for name, value in values.items() if value is not None}, source)

    def apply(self, pixels: Tensor) -> Tensor:
        """uint8 [B, 3, S, S] -> float32 [B, 3, side, side]."""
        shape = (self.side, self.side)
        images = functional.interpolate(
            pixels.float() / 255, shape, mode="bicubic", antialias=True, align_corners=False
        )
        mean, std = (torch.tensor(values, device=pixels.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return (images.clamp(0, 1) - mean) / std


def _side(told: Any) -> Any:
    """The side in any form in which it is told: 224, [224, 224], {"height": 224}, {"shortest_edge": 224}."""
    if isinstance(told, dict):
        return next((told[key] for key in ("height", "shortest_edge") if key in told), None)
    return told[0] if isinstance(told, list | tuple) and told else told


class TransformersEncoder:
    """A vision model of the transformers library (protocol `Encoder`).

    Args:
        model: name on the hub, or folder.
        device: where to compute.

    Raises:
        InputError: the library is absent, the model cannot be had, or it is not a vision model with all its weights.
    """

    def __init__(self, model: str, device: torch.device) -> None:
        self.name, self.device = f"transformers:{model}", device
        network, processor, missing = _load(model)
        config: dict[str, Any] = network.config.to_dict()
        if "text_config" in config or network.main_input_name != "pixel_values":
            raise InputError(
                f"{self.name}: model type {config.get('model_type')!r} takes more than images; name a vision model"
            )
        self._pooled = not any("pooler" in key for key in missing)
        if lost := sorted(key for key in missing if "pooler" not in key):
            raise InputError(f"{self.name}: weights are missing ({lost[0]} and {len(lost) - 1} more)")
        self.preparation = Preparation.of(config, processor, self.name)
        self.network = network.to(device).eval()
        meaning = {name: value for name, value in config.items() if name not in UNIMPORTANT}
        text = json.dumps([meaning, self.preparation.model_dump(), self._pooled], sort_keys=True, default=str)
        self.hash = fingerprint(network.state_dict(), text)
        with torch.inference_mode():
            self.dimension = self._compute(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)).shape[1]

    def features(self, images: Pixels) -> Features:
        """uint8 [N, S, S, 3] -> float32 [N, D]."""
        check_images(images)
        return in_blocks(self._compute, images, self.dimension)

    def _compute(self, pixels: Tensor) -> Tensor:
        images = self.preparation.apply(pixels.to(self.device))
        precision = fast_precision(self.device)
        with torch.autocast(self.device.type, precision, enabled=precision != torch.float32):
            seen = self.network(pixel_values=images)
        pooled: Tensor | None = getattr(seen, "pooler_output", None)
        if pooled is not None and self._pooled:
            return pooled.flatten(1).float()
        last: Tensor = seen.last_hidden_state.float()
        return last.mean(dim=1) if last.ndim == 3 else last.mean(dim=(2, 3))


class ZoobotEncoder:
    """The encoder of a pretrained Zoobot, through its own package (protocol `Encoder`).

    Args:
        model: name on the hub.
        device: where to compute.

    Raises:
        InputError: the package is absent, or the model cannot be had.
    """

    preparation = Preparation(side=224, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

    def __init__(self, model: str, device: torch.device) -> None:
        self.name, self.device = f"zoobot:{model}", device
        try:
            package = import_module("zoobot.pytorch.training.finetune")
        except (ImportError, RuntimeError) as error:  # its image library may not fit torch, which is a RuntimeError
            line = " ".join(str(error).split())
            raise InputError(
                f"{self.name}: the zoobot package cannot be imported ({line}); pip install 'zoobot[pytorch]' beside "
                "galaxysd in an environment of its own, since the image libraries it brings do not fit this one"
            ) from None
        try:
            whole = package.FinetuneableZoobotClassifier(name=f"hf_hub:{model}", num_classes=2, prog_bar=False)
        except Exception as error:  # the hub, timm and the package raise many kinds
            line = str(error).strip().partition("\n")[0]
            raise InputError(f"{self.name}: cannot be had from the hub ({type(error).__name__}: {line})") from None
        self._network: torch.nn.Module = whole.encoder.to(device).eval()
        self.hash = fingerprint(self._network.state_dict(), f"zoobot {self.preparation.model_dump_json()}")
        with torch.inference_mode():
            self.dimension = self._compute(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)).shape[1]

    def features(self, images: Pixels) -> Features:
        """uint8 [N, S, S, 3] -> float32 [N, D]."""
        check_images(images)
        return in_blocks(self._compute, images, self.dimension)

    def _compute(self, pixels: Tensor) -> Tensor:
        seen: Tensor = self._network(self.preparation.apply(pixels.to(self.device)))
        return seen.flatten(1).float()


def _load(model: str) -> tuple[Any, dict[str, Any], set[str]]:
    """Network, content of preprocessor_config.json ({} if there is none), and names of weights that were not found."""
    try:
        from transformers import AutoModel
        from transformers.utils.hub import cached_file
    except ImportError:
        raise InputError(
            f"transformers:{model}: the transformers library is not installed; pip install transformers"
        ) from None

    def read(offline: bool) -> tuple[Any, dict[str, Any], set[str]]:
        network, info = AutoModel.from_pretrained(
            model, local_files_only=offline, use_safetensors=True, output_loading_info=True
        )
        path = cached_file(
            model,
            "preprocessor_config.json",
            local_files_only=offline,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        processor = {} if path is None else json.loads(Path(path).read_text(encoding="utf-8"))
        return network, processor, set(info["missing_keys"])

    return from_folder_or_hub(model, read)


def from_folder_or_hub(model: str, read: Callable[[bool], T]) -> T:
    """What `read(offline)` finds: in a folder, among the models already downloaded, or on the hub.

    Raises:
        InputError: nowhere.
    """
    folder = Path(model).is_dir()
    try:
        try:
            return read(True)
        except OSError:
            if folder:
                raise
            return read(False)
    except (OSError, ValueError) as error:
        what = "cannot be read from this folder" if folder else "is not a folder and cannot be had from the hub"
        raise InputError(f"transformers:{model}: {what} ({str(error).strip().splitlines()[0]})") from None


class PretrainedMaps:
    """Feature maps of a convolutional model of the transformers library.

    Args:
        model: name on the hub, or folder.
        side: px that images are resized to (bilinear); the model's own side would cost time and show nothing more.
        device: where to compute.

    Raises:
        InputError: the library is absent, the model cannot be had, or it has no feature maps.
    """

    def __init__(self, model: str, side: int, device: torch.device) -> None:
        encoder = TransformersEncoder(model, device)
        self._network = encoder.network.requires_grad_(False).to(memory_format=torch.channels_last)
        self._side = side
        self.hash = f"{encoder.hash}-{side}"
        preparation = encoder.preparation
        mean, std = (torch.tensor(values, device=device) for values in (preparation.mean, preparation.std))
        self._mean, self._std = mean[:, None, None], std[:, None, None]
        with torch.no_grad():
            maps = self(torch.zeros(1, 3, side, side, device=device))
        if any(features.ndim != 4 for features in maps):
            raise InputError(f"{encoder.name}: has no feature maps; the perceptual term needs a convolutional network")

    def __call__(self, images: Tensor) -> list[Tensor]:
        """[B, 3, S, S] in [0, 1] -> [B, C_h, s_h, s_h] for each resolution, finest first."""
        resized = functional.interpolate(images, (self._side, self._side), mode="bilinear", align_corners=False)
        prepared = ((resized - self._mean) / self._std).contiguous(memory_format=torch.channels_last)
        stages = self._network(pixel_values=prepared, output_hidden_states=True).hidden_states
        return list({stage.shape[-1]: stage for stage in stages}.values())
