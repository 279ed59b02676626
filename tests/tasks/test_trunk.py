"""The backbone under a head: dense maps at the sizes heads are trained at, and what is frozen stays as it was."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip import factory, pretrained
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision import models

from backbones.adapters import torchvision_models
from backbones.base import Backbone
from backbones.catalogue import load
from tasks.trunk import Trunk, maps_refusal
from tests.backbones.tiny_pipelines import save_pipeline
from tests.backbones.tiny_transformers import ONE_SIZE, save
from tests.tiny_timm import timm_twin

VIT: dict[str, Any] = {"embed_dim": 16, "depth": 2, "num_heads": 2}
SWIN: dict[str, Any] = {"embed_dim": 16, "depths": [2, 2, 1, 1], "num_heads": [1, 2, 2, 2]}
TIMM: dict[str, tuple[str, dict[str, Any]]] = {
    "deit": ("deit_tiny_distilled_patch16_224", VIT),
    "deit3": ("deit3_small_patch16_224", VIT),
    "dinov2": ("vit_small_patch14_reg4_dinov2", VIT),
    "dinov3": ("vit_small_patch16_dinov3", VIT),
    "eva02": ("eva02_tiny_patch14_224", VIT),
    "perception encoder": ("vit_pe_core_tiny_patch16_384", VIT),
    "swin": ("swin_tiny_patch4_window7_224", SWIN),
    "swinv2": ("swinv2_tiny_window8_256", SWIN),
    "sam": ("samvit_base_patch16", {**VIT, "global_attn_indexes": [1], "window_size": 4}),
    "convnextv2": ("convnextv2_atto", {"depths": [1, 1, 1, 1], "dims": [8, 16, 24, 32]}),
}
REGISTERED = [
    "pixels",
    "random:timm:test_resnet",
    "random:timm:test_efficientnet",
    "random:timm:test_convnext",
    "random:timm:test_vit",
    "random:torchvision:squeezenet1_1",
    "random:torchvision:shufflenet_v2_x0_5",
    "random:open_clip:test_vit",
    "random:diffusers:test_unet",
    "random:diffusers:test_dit",
    "random:huggingface:test_dinov2",
    "random:huggingface:test_depth_anything",
]
TORCHVISION = ["torchvision vit", "torchvision swin"]
HUGGING_FACE = ["vit", "dinov3_vit", "siglip", "beit", "swinv2", "convnext", "dpt-swinv2"]
PIPELINES = ["sdxl", "pixart"]
OPEN_CLIP = {"resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8}}
NAMES = [
    *REGISTERED,
    *TIMM,
    *TORCHVISION,
    *(f"transformers {name}" for name in HUGGING_FACE),
    *(f"pipeline {kind}" for kind in PIPELINES),
    "open_clip resnet",
]
SIZES = [(96, 160), (320, 224)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Backbone]:
    folder = tmp_path_factory.mktemp("models")
    kept: dict[str, Backbone] = {}

    def get(name: str) -> Backbone:
        if name not in kept:
            kept[name] = made(name, folder)
        return kept[name]

    return get


def made(name: str, folder: Path) -> Backbone:
    source, _, kind = name.partition(" ")
    if name in TIMM:
        return timm_twin(folder, *TIMM[name])
    if source == "torchvision":
        return torchvision_twin(kind)
    if source == "transformers":
        return load(f"huggingface:{save(folder / kind, kind)}")
    if source == "pipeline":
        return load(f"diffusers:{save_pipeline(kind, folder)}")
    if source == "open_clip":
        return open_clip_twin(kind)
    return load(name)


def torchvision_twin(kind: str) -> Backbone:
    twin = load("random:timm:test_vit")
    model: nn.Module = (
        models.SwinTransformer([4, 4], 8, [1, 1, 1, 1], [1, 1, 2, 2], window_size=[7, 7])
        if kind == "swin"
        else models.VisionTransformer(64, 16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=16)
    )
    return torchvision_models.wrap(model, twin.card, twin.preprocess)


def open_clip_twin(kind: str) -> Backbone:
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    config = {"embed_dim": 32, "vision_cfg": OPEN_CLIP[kind], "text_cfg": text}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factory, "_MODEL_CONFIGS", {**factory._MODEL_CONFIGS, "tiny": config})
        patch.setitem(pretrained._PRETRAINED, "tiny", {"noise": {"file": "nowhere.pt"}})
        return load("random:open_clip:tiny/noise")


def images(size: tuple[int, int], batch: int = 2) -> Tensor:
    """The second one smaller than the canvas, zeros on its right and below."""
    made = torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0))
    made[1:, :, size[0] // 2 :], made[1:, :, :, size[1] - 20 :] = 0, 0
    return made


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_maps_of_any_size_frozen(name: str, size: tuple[int, int], tiny: Callable[[str], Backbone]) -> None:
    trunk = Trunk(tiny(name), "frozen")
    channels = trunk.channels()
    trunk.train()
    assert not any(module.training for module in trunk.modules())
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    batch = images(size)
    maps = trunk.maps(batch)
    assert {stride: each.shape[1] for stride, each in maps.items()} == channels
    assert [*maps] == sorted(maps)
    for stride, each in maps.items():
        assert each.shape[2:] == (math.ceil(size[0] / stride), math.ceil(size[1] / stride))
        assert each.isfinite().all()
        assert not each.requires_grad
        assert each.flatten(2).std(2).max() > 0  # says something of places
    alone = trunk.maps(batch[1:])
    for stride, each in maps.items():
        torch.testing.assert_close(alone[stride], each[1:], rtol=1e-3, atol=1e-3 * float(each.abs().max()))
    assert all(torch.equal(before[key], value) for key, value in trunk.state_dict().items())


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "pixels"])
def test_maps_are_trained_end_to_end(name: str, half: bool, tiny: Callable[[str], Backbone]) -> None:
    trunk = Trunk(tiny(name), "end-to-end")
    channels = trunk.channels()
    trunk.train()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        maps = trunk.maps(images((96, 160)))
    assert {stride: each.shape[1] for stride, each in maps.items()} == channels
    torch.stack([each.float().square().mean() for each in maps.values()]).sum().backward()
    reached = [each.grad for _, group in trunk.layers() for each in group if each.grad is not None]
    assert all(each.isfinite().all() for each in reached)
    first = next(group for _, group in trunk.layers() if any(each.grad is not None for each in group))
    assert any(each.grad is not None and each.grad.abs().sum() > 0 for each in first)
    listed = {id(each) for _, group in trunk.layers() for each in group}
    assert all(id(each) in listed for each in trunk.parameters() if each.requires_grad or each.grad is not None)
    if half:
        expected = Trunk(tiny(name), "frozen").maps(images((96, 160)))
        trunk.eval()
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            for stride, each in trunk.maps(images((96, 160))).items():
                apart = (each.float() - expected[stride]).square().mean() / expected[stride].square().mean()
                assert apart < 0.01


@pytest.mark.parametrize("train", ["frozen", "end-to-end"])
@pytest.mark.parametrize("batch_norm", ["frozen", "batch"])
def test_statistics_of_batch_norm_move_where_they_are_asked_to(
    train: Any, batch_norm: Any, tiny: Callable[[str], Backbone]
) -> None:
    backbone = tiny("random:timm:test_resnet")
    trunk = Trunk(backbone, train, batch_norm=batch_norm)
    before = copy.deepcopy(backbone.state_dict())
    trunk.train()
    norms = [module for module in trunk.modules() if isinstance(module, _BatchNorm)]
    moving = train == "end-to-end" and batch_norm == "batch"
    assert norms
    assert all(module.training == moving for module in norms)
    trunk.maps(images((96, 160)))
    own = trunk.backbone.state_dict()
    moved = {key for key, value in own.items() if not torch.equal(value, before[key])}
    assert all("running_" in key or "num_batches" in key for key in moved)
    assert bool(moved) == moving
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


def test_the_backbone_that_was_given_is_never_touched(tiny: Callable[[str], Backbone]) -> None:
    backbone = tiny("random:timm:test_vit")
    before = copy.deepcopy(backbone.state_dict())
    wanted = [parameter.requires_grad for parameter in backbone.parameters()]
    trunk = Trunk(backbone, "end-to-end", drop_path=0.2, window=2)
    trunk.recompute()
    trunk.train()
    sum(each.square().mean() for each in trunk.maps(images((96, 160))).values()).backward()  # type: ignore[union-attr]
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert [parameter.requires_grad for parameter in backbone.parameters()] == wanted
    assert not any(module.training for module in backbone.modules())
    assert all(parameter.grad is None for parameter in backbone.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in backbone.modules())


def test_a_frozen_trunk_is_in_evaluation_mode_whatever_it_was_made_of(tiny: Callable[[str], Backbone]) -> None:
    trunk = Trunk(copy.deepcopy(tiny("random:timm:test_resnet")).train(), "frozen")
    assert not any(module.training for module in trunk.modules())


def test_looking_at_channels_leaves_the_mode_alone(tiny: Callable[[str], Backbone]) -> None:
    trunk = Trunk(tiny("random:timm:test_vit"), "end-to-end")
    for mode in (True, False):
        trunk.train(mode)
        trunk.channels(), trunk.dim()
        assert trunk.training == trunk.backbone.training == mode


def test_windows_change_the_maps_of_a_vision_transformer_alone(tmp_path: Path) -> None:
    backbone = timm_twin(tmp_path, "vit_tiny_patch16_224", {**VIT, "depth": 6})
    for parameter in backbone.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    whole, windowed = Trunk(backbone, "frozen"), Trunk(backbone, "frozen", window=4)
    assert windowed.channels() == whole.channels()
    assert [*windowed.state_dict()] == [*whole.state_dict()]
    (one,), (other,) = whole.maps(images((96, 160))).values(), windowed.maps(images((96, 160))).values()
    assert (one - other).abs().max() > 0.01
    with pytest.raises(ValueError, match=r"window 4: random:timm:test_resnet.* is no plain vision transformer"):
        Trunk(load("random:timm:test_resnet"), window=4)


FIXED = {
    "beit": ("beitv2_base_patch16_224", VIT),
    "maxvit": ("maxvit_tiny_tf_224", {"embed_dim": [32] * 4, "depths": [1] * 4}),
    "coatnet": ("coatnet_0_rw_224", {"embed_dim": [32] * 4, "depths": [1] * 4}),
    "hiera": ("hiera_tiny_224", {"embed_dim": 16, "num_heads": 1, "stages": [1, 1, 1, 1]}),
}


@pytest.mark.parametrize("name", FIXED)
def test_architectures_of_one_size_say_so(name: str, tmp_path: Path) -> None:
    backbone = timm_twin(tmp_path, *FIXED[name], size=224)
    trunk = Trunk(backbone, "frozen")
    assert trunk.maps(images((224, 224)))
    with pytest.raises(ValueError, match=r"was made for images of 224 x 224 pixels and cannot take 96 x 160"):
        trunk.maps(images((96, 160)))
    refused = maps_refusal(backbone)
    assert refused is not None
    assert FIXED[name][0] in refused
    assert "160 x 128" in refused
    assert maps_refusal(backbone, 224) is None  # images are padded to its own size
    assert maps_refusal(backbone, 256) is not None


@pytest.mark.parametrize("name", sorted(ONE_SIZE))
def test_models_of_transformers_of_one_size_say_so(name: str, tmp_path: Path) -> None:
    backbone = load(f"huggingface:{save(tmp_path / name, name)}")
    refused = maps_refusal(backbone)
    assert refused is not None
    assert "takes images of 64 x 64 only, not 160 x 128" in refused


def test_a_backbone_without_maps_is_refused_by_name() -> None:
    from tests.feature_fakes import Fake

    refused = maps_refusal(Fake())
    assert refused == "backbone 'fake' gives no dense features (feature_maps)"
