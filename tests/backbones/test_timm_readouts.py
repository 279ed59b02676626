"""timm's readouts against hooks on the blocks and stages themselves, and through the cache."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from backbones.base import Readable, freeze
from backbones.catalogue import load
from backbones.features import Extractor, ExtractSettings
from tests.feature_fakes import random_images


def hooked(model: torch.nn.Module, modules: list[str], images: Tensor) -> list[Tensor]:
    found: list[Tensor] = []
    handles = [
        model.get_submodule(name).register_forward_hook(lambda _m, _i, output: found.append(output)) for name in modules
    ]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return found


def batch(backbone: object) -> Tensor:
    return torch.randn(2, 3, *backbone.preprocess.size, generator=torch.Generator().manual_seed(0))  # type: ignore[attr-defined]


def test_tokens_of_blocks_are_those_a_hook_sees() -> None:
    backbone = freeze(load("random:timm:test_vit"))
    model, images = backbone.model, batch(backbone)
    blocks = [model.norm(each) for each in hooked(model, [f"blocks.{n}" for n in range(len(model.blocks))], images)]
    prefix = model.num_prefix_tokens
    expected = {
        "block0/cls": blocks[0][:, 0],
        "block2/mean": blocks[2][:, prefix:].mean(1),
        f"last{min(4, len(blocks))}/cls": torch.cat([each[:, 0] for each in blocks[-4:]], 1),
        f"block{len(blocks) - 1}/cls+mean": torch.cat([blocks[-1][:, 0], blocks[-1][:, prefix:].mean(1)], 1),
    }
    assert isinstance(backbone, Readable)
    for readout, vector in expected.items():
        assert readout in backbone.readouts
        torch.testing.assert_close(backbone.read(images, readout), vector, rtol=1e-4, atol=1e-5)


def test_stages_are_those_a_hook_sees() -> None:
    backbone = freeze(load("random:timm:test_resnet"))
    assert isinstance(backbone, Readable)
    stages = [each["module"] for each in backbone.model.feature_info]
    images = batch(backbone)
    for number, found in enumerate(hooked(backbone.model, stages, images)):
        torch.testing.assert_close(backbone.read(images, f"stage{number}/mean"), found.mean((2, 3)))
    assert backbone.readouts[0] == f"stage{len(stages) - 1}/mean"


@pytest.mark.parametrize("name", ["test_vit", "test_vit2", "test_resnet", "test_convnext", "test_efficientnet"])
def test_every_readout_offered_can_be_read(name: str) -> None:
    backbone = freeze(load(f"random:timm:{name}"))
    assert isinstance(backbone, Readable)
    assert backbone.readouts
    for readout in backbone.readouts:
        vectors = backbone.read(batch(backbone), readout)
        assert vectors.ndim == 2
        assert vectors.isfinite().all()
    with pytest.raises(ValueError, match="unknown readout 'block99/cls'"):
        backbone.read(batch(backbone), "block99/cls")


def test_a_readout_has_its_own_entry_in_the_cache(tmp_path: Path) -> None:
    backbone, images = load("random:timm:test_vit"), random_images(10, 160)
    extractor = Extractor(ExtractSettings(tmp_path, device="cpu"))
    pooled, read = extractor(backbone, images), extractor(backbone, images, "last4/cls")
    assert read.shape[1] == 4 * pooled.shape[1]
    assert [facts.layer for facts in extractor.used] == ["pooled", "last4/cls"]
    assert np.array_equal(Extractor(ExtractSettings(tmp_path, device="cpu"))(backbone, images, "last4/cls"), read)
    with pytest.raises(ValueError, match="has no readout 'nowhere'; there are: pooled, block"):
        extractor(backbone, images, "nowhere")
