"""Attention in windows against a loop over windows, each a global attention over its own patches alone."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip import factory, pretrained
from torch import Tensor, nn

from backbones.base import Backbone
from backbones.catalogue import load
from backbones.weights import weights_sha256
from backbones.windowed_attention import attend_in_windows, global_blocks
from tests.tiny_timm import timm_twin

TINY = {"embed_dim": 32, "depth": 6, "num_heads": 2}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "class token": ("vit_tiny_patch16_224", TINY),
    "registers, patches of 14": ("vit_small_patch14_reg4_dinov2", {**TINY, "img_size": 56}),
    "no class token": ("vit_base_patch16_siglip_224", TINY),
    "distilled": ("deit_tiny_distilled_patch16_224", TINY),
    "rotary": ("eva02_tiny_patch14_224", TINY),
    "rotary of DINOv3": ("vit_small_patch16_dinov3", TINY),
    "rotary by head": ("vit_small_patch16_rope_mixed_224", TINY),
    "pooled by attention": ("vit_pe_core_tiny_patch16_384", TINY),
}
OPEN_CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "patch_size": 16, "layers": 6, "width": 32, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
GRID = (6, 10)
WINDOW = 4


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Backbone]:
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", {**factory._MODEL_CONFIGS, "deep-vit": OPEN_CLIP})
    monkeypatch.setitem(pretrained._PRETRAINED, "deep-vit", {"noise": {"file": "nowhere.pt"}})
    return lambda kind: alive(
        load("random:open_clip:deep-vit/noise") if kind == "open_clip" else timm_twin(tmp_path, *MODELS[kind])
    )


def alive(backbone: Backbone) -> Backbone:
    """Layer scales of DINOv2 begin at 1e-5, which would hide a mistake."""
    generator = torch.Generator().manual_seed(0)
    for parameter in backbone.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return backbone


def images(backbone: Backbone, grid: tuple[int, int] = GRID) -> Tensor:
    """Two images of that many patches."""
    (stride,) = backbone.feature_maps(torch.zeros(1, 3, 224, 224))
    size = (grid[0] * stride, grid[1] * stride)
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


class Looped(nn.Module):
    """What attention in windows is to do, said slowly: patch by patch, window by window."""

    def __init__(self, attention: nn.Module, window: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.attention, self.window, self.grid = attention, window, grid

    def forward(self, tokens: Tensor, *others: Any, rope: Tensor | None = None, **ignored: Any) -> Any:
        rows, columns = self.grid
        prefix = tokens.shape[1] - rows * columns
        output = torch.zeros_like(tokens)
        for top in range(0, rows, self.window):
            for left in range(0, columns, self.window):
                patches = [
                    row * columns + column
                    for row in range(top, min(top + self.window, rows))
                    for column in range(left, min(left + self.window, columns))
                ]
                within = [*range(prefix), *(prefix + patch for patch in patches)]
                chosen = tokens[:, within]
                if others:  # torch's own takes queries, keys and values
                    seen = self.attention(chosen, chosen, chosen, need_weights=False)[0]
                elif rope is None:
                    seen = self.attention(chosen)
                else:
                    seen = self.attention(chosen, rope=rope[..., patches, :])
                output[:, within[prefix:]] = seen[:, prefix:]
                output[:, :prefix] += seen[:, :prefix] * len(patches) / (rows * columns)
        return (output, None) if others else output


def blocks_of(backbone: Backbone) -> Any:
    model: Any = backbone.model
    return model.visual.transformer.resblocks if hasattr(model, "visual") else model.blocks


def looped(backbone: Backbone, grid: tuple[int, int]) -> Backbone:
    slow = copy.deepcopy(backbone)
    blocks = blocks_of(slow)
    for index, block in enumerate(blocks):
        if index not in global_blocks(len(blocks)):
            block.attn = Looped(block.attn, WINDOW, grid)
    return slow


@pytest.mark.parametrize("kind", [*MODELS, "open_clip"])
@pytest.mark.parametrize("grid", [GRID, (8, 4)], ids=str)
def test_is_the_loop_over_windows(kind: str, grid: tuple[int, int], tiny: Callable[[str], Backbone]) -> None:
    backbone = tiny(kind)
    slow = looped(backbone, grid)
    fast = copy.deepcopy(backbone)
    attend_in_windows(fast, WINDOW)
    batch = images(backbone, grid)
    (found,), (expected,) = fast.feature_maps(batch).values(), slow.feature_maps(batch).values()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    with torch.no_grad():  # torch's own attention then takes another way
        torch.testing.assert_close(fast.embed(batch), slow.embed(batch), rtol=1e-4, atol=1e-4)
    (whole,) = backbone.feature_maps(batch).values()
    assert (found - whole).abs().max() > 0.01
    found.square().sum().backward()
    expected.square().sum().backward()
    for one, other in zip(_gradients(fast), _gradients(slow), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()) + 1e-6)


def _gradients(backbone: Backbone) -> list[Tensor]:
    parameters = [parameter for _, group in backbone.layers() for parameter in group]
    found = [parameter.grad for parameter in parameters if parameter.grad is not None]
    assert found
    return found


@pytest.mark.parametrize("kind", [*MODELS, "open_clip"])
def test_a_window_over_the_whole_image_is_global_attention_exactly(kind: str, tiny: Callable[[str], Backbone]) -> None:
    backbone = tiny(kind)
    windowed = copy.deepcopy(backbone)
    attend_in_windows(windowed, 12)
    batch = images(backbone)
    assert torch.equal(windowed.embed(batch), backbone.embed(batch))
    (found,), (expected,) = windowed.feature_maps(batch).values(), backbone.feature_maps(batch).values()
    assert torch.equal(found, expected)


def test_keeps_names_weights_and_identity_and_follows_a_copy(tiny: Callable[[str], Backbone]) -> None:
    backbone = tiny("class token")
    windowed = copy.deepcopy(backbone)
    attend_in_windows(windowed, WINDOW)
    assert list(windowed.state_dict()) == list(backbone.state_dict())
    assert weights_sha256(windowed) == weights_sha256(backbone)
    assert [name for name, _ in windowed.layers()] == [name for name, _ in backbone.layers()]
    twin = copy.deepcopy(windowed)
    (expected,) = windowed.feature_maps(images(windowed)).values()
    twin.embed(images(twin, (4, 4)))  # a copy keeps its own account of the images in it
    (found,) = windowed.feature_maps(images(windowed)).values()
    assert torch.equal(found, expected)


def test_recomputed_activations_give_the_same_gradients(tiny: Callable[[str], Backbone]) -> None:
    backbone = tiny("rotary")
    attend_in_windows(backbone, WINDOW)
    again = copy.deepcopy(backbone)
    again.model.set_grad_checkpointing(True)  # type: ignore[union-attr, operator]
    batch = images(backbone)
    for each in (backbone.train(), again.train()):
        (found,) = each.feature_maps(batch).values()
        found.square().sum().backward()
    for one, other in zip(_gradients(backbone), _gradients(again), strict=True):
        torch.testing.assert_close(one, other)


def test_works_in_bfloat16(tiny: Callable[[str], Backbone]) -> None:
    backbone = tiny("rotary")
    attend_in_windows(backbone, WINDOW)
    (expected,) = backbone.feature_maps(images(backbone)).values()
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = backbone.feature_maps(images(backbone)).values()
    cosine = nn.functional.cosine_similarity(found.float().flatten(), expected.flatten(), dim=0)
    assert cosine > 0.99


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (
            "random:timm:test_resnet",
            "random:timm:test_resnet.r160_in1k is no plain vision transformer of open_clip or timm",
        ),
        ("random:timm:test_convnext", "is no plain vision transformer"),
        ("pixels", "pixels is no plain vision transformer"),
        ("random:timm:vit_tiny_patch16_224", "window 0 must be at least 1"),
    ],
)
def test_others_are_refused_by_name(name: str, why: str) -> None:
    window = 0 if "window 0" in why else 14
    with pytest.raises(ValueError, match=why):
        attend_in_windows(load(name), window)


def test_blocks_without_an_attention_of_their_own_and_fixed_sizes_are_refused(tmp_path: Path) -> None:
    parallel = timm_twin(tmp_path, "vit_base_patch16_224", {**TINY, "class_token": False, "global_pool": "avg"})
    blocks: Any = parallel.model.blocks  # type: ignore[union-attr]
    del blocks[0].attn
    with pytest.raises(ValueError, match="keep their attention elsewhere"):
        attend_in_windows(parallel, 4)
    fixed = timm_twin(tmp_path, "vit_tiny_patch16_224", {**TINY, "dynamic_img_size": False})
    with pytest.raises(ValueError, match="takes images of one size"):
        attend_in_windows(fixed, 4)


def test_a_mask_from_elsewhere_is_refused(tiny: Callable[[str], Backbone]) -> None:
    backbone = tiny("class token")
    attend_in_windows(backbone, WINDOW)
    model: Any = backbone.model
    with pytest.raises(ValueError, match="takes no other"):
        model.forward_features(images(backbone), attn_mask=torch.ones(61, 61, dtype=torch.bool))


def test_where_information_crosses() -> None:
    assert sorted(global_blocks(12)) == [2, 5, 8, 11]
    assert sorted(global_blocks(24)) == [5, 11, 17, 23]
    assert sorted(global_blocks(3)) == [0, 1, 2]
