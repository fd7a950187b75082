"""Networks that classify galaxies: uint8 images [B, 3, S, S] in, logits [B, K] out.

`resnet` (He et al. 2016, arXiv 1512.03385, basic blocks) and `convnextv2` (Woo et al. 2023, arXiv 2301.00808) come from
the transformers library with sizes that train on one core at 64 px; `galaxyemb` is a linear layer on frozen features of
an encoder (encoders/); `transformers:NAME-OR-FOLDER` is any pretrained image classifier, fine-tuned with a new head.
"""

from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from galaxysd.encoders.galaxyemb import EncoderNetwork, GalaxyEncoder
from galaxysd.encoders.pretrained import Preparation, from_folder_or_hub
from galaxysd.encoders.registry import TRANSFORMERS, load_encoder
from galaxysd.errors import InputError
from galaxysd.nn import fast_precision
from galaxysd.settings import Settings


class ClassifierNetwork(Settings):
    """Which network."""

    architecture: str = Field(
        default="resnet",
        pattern=r"^(resnet|convnextv2|galaxyemb|transformers:.+)$",
        description="resnet, convnextv2, galaxyemb (linear on frozen features) or transformers:NAME-OR-FOLDER",
    )
    widths: tuple[int, ...] = Field(
        default=(32, 64, 128, 192),
        min_length=1,
        description="channels of resnet and convnextv2, each level half as fine",
    )
    depths: tuple[int, ...] = Field(default=(1, 1, 1, 1), min_length=1, description="their blocks per level")
    encoder: str = Field(default="galaxyemb", description="encoder of galaxyemb: the shipped one or a folder")


def make_network(settings: ClassifierNetwork, classes: int) -> nn.Module:
    """A network with new weights (but those of an encoder or of a pretrained model), in training mode.

    Args:
        settings: which.
        classes: K, number of outputs.

    Raises:
        InputError: the encoder or pretrained model cannot be had, or the library is absent.
    """
    if settings.architecture == "galaxyemb":
        encoder = load_encoder(settings.encoder)
        if not isinstance(encoder, GalaxyEncoder):
            raise InputError(f"encoder {settings.encoder!r}: expected galaxyemb or the folder of a trained encoder")
        return ProbeNetwork(encoder.network, classes).train()
    if settings.architecture.startswith(TRANSFORMERS):
        model = settings.architecture.removeprefix(TRANSFORMERS)
        backbone, preparation = _pretrained(model, classes)
        return BackboneNetwork(backbone, preparation).train()
    return BackboneNetwork(_small(settings, classes), None).train()


def rebuild_network(settings: ClassifierNetwork, classes: int, folder: Path) -> nn.Module:
    """The network of a classifier folder, before its weights are read: nothing is looked for elsewhere.

    Raises:
        InputError: the folder lacks the encoder or the configuration.
    """
    if settings.architecture == "galaxyemb":
        return make_network(settings.model_copy(update={"encoder": str(folder / "encoder")}), classes)
    if settings.architecture.startswith(TRANSFORMERS):
        from transformers import AutoConfig, AutoModelForImageClassification

        try:
            config = AutoConfig.from_pretrained(folder / "backbone", local_files_only=True)
            backbone = AutoModelForImageClassification.from_config(config)  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise InputError(f"{folder / 'backbone'}: cannot be read ({str(error).splitlines()[0]})") from None
        return BackboneNetwork(backbone, Preparation.read(folder / "backbone" / PREPARATION)).train()
    return make_network(settings, classes)


PREPARATION = "preparation.yaml"


class ProbeNetwork(nn.Module):
    """A linear layer on the features of a frozen encoder."""

    def __init__(self, encoder: EncoderNetwork, classes: int) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False)
        self.head = nn.Linear(encoder.settings.widths[-1], classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [B, 3, S, S] -> logits float32 [B, K]."""
        with torch.no_grad():
            raw = self.encoder(pixels.float() / 255)
            features = (raw - self.encoder.centre) / self.encoder.deviation
        logits: Tensor = self.head(features)
        return logits


class BackboneNetwork(nn.Module):
    """An image classifier of the transformers library that takes pixels as they are."""

    def __init__(self, backbone: nn.Module, preparation: Preparation | None) -> None:
        """Args: backbone: the model. preparation: what it wants done to images; None: it is one of our own."""
        super().__init__()
        for layer in backbone.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.num_batches_tracked = torch.zeros(())  # nobody reads it; a weight average holds no integers
        self.backbone = backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.preparation = preparation

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [B, 3, S, S] -> logits float32 [B, K]."""
        images = pixels.float() / 63.75 - 1 if self.preparation is None else self.preparation.apply(pixels)
        precision = fast_precision(pixels.device)
        with torch.autocast(pixels.device.type, precision, enabled=precision != torch.float32):
            seen = self.backbone(pixel_values=images.contiguous(memory_format=torch.channels_last))
        logits: Tensor = seen.logits.float()
        return logits


def _small(settings: ClassifierNetwork, classes: int) -> nn.Module:
    """A network of the library's, from its configuration only."""
    if len(settings.widths) != len(settings.depths):
        raise InputError(
            f"network: {len(settings.widths)} widths and {len(settings.depths)} depths; give one per level"
        )
    try:
        from transformers import (
            ConvNextV2Config,
            ConvNextV2ForImageClassification,
            ResNetConfig,
            ResNetForImageClassification,
        )
    except ImportError:
        raise InputError("classifier: the transformers library is not installed; pip install transformers") from None
    levels = {"hidden_sizes": list(settings.widths), "depths": list(settings.depths)}
    shape: dict[str, Any] = {**levels, "num_labels": classes}
    model: nn.Module
    if settings.architecture == "resnet":
        config = ResNetConfig(**shape, embedding_size=settings.widths[0], layer_type="basic")
        model = ResNetForImageClassification(config)
    else:
        model = ConvNextV2ForImageClassification(ConvNextV2Config(**shape, num_stages=len(settings.widths)))
    return model


def _pretrained(model: str, classes: int) -> tuple[nn.Module, Preparation]:
    """A pretrained classifier with a new head, from a folder, the models already downloaded, or the hub."""
    try:
        from transformers import AutoConfig, AutoModelForImageClassification
        from transformers.image_processing_base import ImageProcessingMixin
    except ImportError:
        raise InputError(f"transformers:{model}: the transformers library is not installed") from None

    def read(offline: bool) -> tuple[nn.Module, Preparation]:
        config = AutoConfig.from_pretrained(model, local_files_only=offline, num_labels=classes)
        network: nn.Module = AutoModelForImageClassification.from_pretrained(
            model, config=config, local_files_only=offline, use_safetensors=True, ignore_mismatched_sizes=True
        )
        try:
            processor, _ = ImageProcessingMixin.get_image_processor_dict(model, local_files_only=offline)
        except OSError:
            processor = {}
        return network, Preparation.of(config.to_dict(), processor, f"transformers:{model}")

    return from_folder_or_hub(model, read)
