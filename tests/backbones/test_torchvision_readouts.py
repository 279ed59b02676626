"""torchvision's readouts against hooks on the blocks and stages themselves, and on maps of every architecture."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from backbones.adapters import torchvision_models
from backbones.base import Backbone, Preprocess, Readable, freeze
from backbones.catalogue import load

SIZE = 64
STAGES = {
    "resnet18": ["relu", "layer1", "layer2", "layer3", "layer4"],
    "mobilenet_v3_small": ["features.0", "features.1", "features.3", "features.8", "features.12"],
    "convnext_tiny": ["features.1", "features.3", "features.5", "features.7"],
    "shufflenet_v2_x0_5": ["conv1", "maxpool", "stage2", "stage3", "conv5"],
}
"""Written down from the papers' tables and torchvision's source: the last module of every stride."""


def wrapped(model: nn.Module) -> Backbone:
    card = load("random:torchvision:squeezenet1_1").card
    half = (0.5, 0.5, 0.5)
    preprocess = Preprocess((SIZE, SIZE), SIZE, "center", "bilinear", mean=half, std=half)
    return freeze(torchvision_models.wrap(model, card, preprocess))


def small_vit() -> models.VisionTransformer:
    torch.manual_seed(0)
    model = models.VisionTransformer(SIZE, 16, num_layers=5, num_heads=2, hidden_dim=8, mlp_dim=16)
    nn.init.normal_(model.encoder.ln.weight)  # fresh norms change nothing a mean over channels would show
    return model


def small_swin() -> models.SwinTransformer:
    torch.manual_seed(0)
    return models.SwinTransformer([4, 4], embed_dim=8, depths=[1, 2], num_heads=[1, 2], window_size=[7, 7])


def batch() -> Tensor:
    return torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def hooked(model: nn.Module, paths: list[str]) -> list[Tensor]:
    found: list[Tensor] = []
    for path in paths:
        model.get_submodule(path).register_forward_hook(lambda _m, _i, output: found.append(output))
    with torch.no_grad():
        model(batch())
    return found


def test_tokens_of_blocks_are_those_a_hook_sees() -> None:
    backbone, plain = wrapped(small_vit()), small_vit().eval()
    names = [f"encoder.layers.encoder_layer_{number}" for number in range(5)]
    blocks = [plain.encoder.ln(each) for each in hooked(plain, names)]
    expected = {
        "block4/cls+mean": torch.cat([blocks[4][:, 0], blocks[4][:, 1:].mean(1)], 1),
        "block0/cls": blocks[0][:, 0],
        "block2/mean": blocks[2][:, 1:].mean(1),
        "last4/mean": torch.cat([each[:, 1:].mean(1) for each in blocks[1:]], 1),
    }
    assert isinstance(backbone, Readable)
    assert backbone.readouts[:4] == ("block4/cls+mean", "last4/cls", "last4/mean", "block4/cls")
    assert len(backbone.readouts) == 3 + 2 * 5
    for readout, vector in expected.items():
        torch.testing.assert_close(backbone.read(batch(), readout), vector)
    torch.testing.assert_close(backbone.read(batch(), "block4/cls"), backbone.embed(batch()))


@pytest.mark.parametrize("architecture", STAGES)
def test_stages_are_those_a_hook_sees(architecture: str) -> None:
    model = models.get_model(architecture)
    backbone = wrapped(model)
    assert isinstance(backbone, Readable)
    assert backbone.readouts == tuple(f"stage{n}/mean" for n in reversed(range(len(STAGES[architecture]))))
    read = [backbone.read(batch(), readout) for readout in backbone.readouts[::-1]]
    for vector, seen in zip(read, hooked(model, STAGES[architecture]), strict=True):
        torch.testing.assert_close(vector, seen.mean((2, 3)))


def test_stages_of_a_window_transformer_have_their_channels_last() -> None:
    backbone, plain = wrapped(small_swin()), small_swin().eval()
    assert isinstance(backbone, Readable)
    assert backbone.readouts == ("stage1/mean", "stage0/mean")
    for number, seen in enumerate(hooked(plain, ["features.1", "features.3"])):
        torch.testing.assert_close(backbone.read(batch(), f"stage{number}/mean"), seen.mean((1, 2)))


@pytest.mark.parametrize("build", [small_vit, small_swin, models.squeezenet1_1, models.mobilenet_v3_small])
def test_every_readout_offered_can_be_read_and_no_other(build: Callable[[], nn.Module]) -> None:
    backbone = wrapped(build())
    assert isinstance(backbone, Readable)
    for readout in backbone.readouts:
        vectors = backbone.read(batch(), readout)
        assert vectors.ndim == 2
        assert vectors.isfinite().all()
    with pytest.raises(ValueError, match="unknown readout 'block99/cls'"):
        backbone.read(batch(), "block99/cls")


@pytest.mark.parametrize("architecture", ["convnext_tiny", "mobilenet_v2", "densenet121", "resnet18"])
def test_what_was_pooled_to_a_point_is_no_map(architecture: str) -> None:
    """ConvNeXt's norm after the pooling once passed for a map of stride 128."""
    maps = wrapped(models.get_model(architecture)).feature_maps(batch())
    assert max(maps) == 32
    assert maps[32].shape[-2:] == (2, 2)
