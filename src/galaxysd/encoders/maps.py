"""Feature maps of a pretrained vision model, for the perceptual term of training (protocol `FeatureMaps`).

In: images [B, 3, S, S] in [0, 1], differentiable. Out: the last feature map of each resolution, finest first.
"""

import torch
from torch import Tensor
from torch.nn import functional

from galaxysd.encoders.pretrained import TransformersEncoder
from galaxysd.errors import InputError


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
