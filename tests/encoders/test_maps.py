"""Feature maps from folders with tiny random weights; nothing is downloaded."""

from pathlib import Path

import pytest
import torch

from galaxysd.encoders.pretrained import PretrainedMaps
from galaxysd.errors import InputError

transformers = pytest.importorskip("transformers")
CPU = torch.device("cpu")


def test_maps_of_every_resolution_with_gradients(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 12, 16], depths=[1, 2, 1])
    transformers.ResNetModel(config).save_pretrained(tmp_path / "resnet")
    maps = PretrainedMaps(str(tmp_path / "resnet"), 64, CPU)
    images = torch.rand((2, 3, 16, 16), generator=torch.Generator().manual_seed(1)).requires_grad_()
    found = maps(images)
    assert tuple(features.shape[1] for features in found) == (8, 12, 16)
    assert [features.shape[-1] for features in found] == sorted((f.shape[-1] for f in found), reverse=True)
    sum(features.sum() for features in found).backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    assert PretrainedMaps(str(tmp_path / "resnet"), 32, CPU).hash != maps.hash


def test_a_model_without_maps_is_refused(tmp_path: Path) -> None:
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16, intermediate_size=16
    )
    transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    with pytest.raises(InputError, match="has no feature maps"):
        PretrainedMaps(str(tmp_path / "vit"), 32, CPU)
