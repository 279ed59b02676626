"""Region detectors over tiny random trunks: torchvision's own models are the oracle, loops the slow obvious version."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.detection.rpn import RPNHead

from backbones.adapters import torchvision_models
from backbones.base import Backbone
from backbones.catalogue import load
from backbones.places import Places
from backbones.training.parameter_groups import train_mode
from tasks.detection.batch import DetectionBatch, Truth
from tasks.detection.catalogue import DETECTORS, build_detector
from tasks.detection.detector import Detector
from tasks.detection.head_settings import HeadSettings
from tasks.detection.rcnn.region_detector import RegionDetector
from tasks.detection.rcnn.stage import Stage
from tasks.trunk import Trunk

NAMES = ("faster-rcnn", "mask-rcnn", "cascade-rcnn", "cascade-mask-rcnn")
SMALL: Mapping[str, Any] = {
    "pyramid_channels": 16,
    "head_width": 32,
    "training_proposals": 100,
    "proposals": 50,
    "samples": 64,
    "score_threshold": 0.0,
}
CLASSES = 3
CNN, SWIN, VIT, DIFFUSION = "random:timm:test_resnet", "swin", "random:timm:test_vit", "random:diffusers:test_unet"
HEIGHT, WIDTH = 128, 192


@cache
def backbone(name: str) -> Backbone:
    """Of one to five strides; the Swin is torchvision's, made tiny."""
    if name != SWIN:
        return load(name, Places())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = models.SwinTransformer(
            [4, 4], embed_dim=24, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8], window_size=[7, 7]
        )
    twin = load(VIT, Places())
    return torchvision_models.wrap(model, twin.card, twin.preprocess)


def detector(name: str = "mask-rcnn", trunk: str = CNN, train: Any = "end-to-end", **settings: Any) -> RegionDetector:
    torch.manual_seed(0)
    made = build_detector(name, Trunk(backbone(trunk), train), CLASSES, HeadSettings(**{**SMALL, **settings}))
    assert isinstance(made, RegionDetector)
    return made


def batch(objects: tuple[int, ...] = (3, 2), seed: int = 0) -> DetectionBatch:
    """Noise with rectangles of one colour a class; the second image is smaller than the canvas."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(len(objects), 3, HEIGHT, WIDTH, generator=generator) * 0.2
    sizes = tuple((HEIGHT, WIDTH) if not row % 2 else (100, 150) for row in range(len(objects)))
    truths = []
    for row, ((height, width), count) in enumerate(zip(sizes, objects, strict=True)):
        images[row, :, height:], images[row, :, :, width:] = 0, 0
        corners = torch.rand(count, 2, generator=generator) * torch.tensor([width - 64.0, height - 64.0])
        boxes = torch.cat([corners, corners + 24 + 40 * torch.rand(count, 2, generator=generator)], 1).round()
        labels = torch.randint(0, CLASSES, (count,), generator=generator)
        masks = torch.zeros(count, HEIGHT, WIDTH, dtype=torch.uint8)
        for mask, label, (left, top, right, bottom) in zip(masks, labels, boxes.int().tolist(), strict=True):
            mask[top:bottom, left:right] = 1
            images[row, label, top:bottom, left:right] = 2
        truths.append(Truth(boxes, labels, masks))
    return DetectionBatch(images, sizes, tuple(truths), tuple(f"{row}.png" for row in range(len(objects))))


def test_the_four_are_found_by_name() -> None:
    assert set(NAMES) <= set(DETECTORS.found)
    with pytest.raises(ValueError, match="did you mean 'mask-rcnn'"):
        build_detector("maskrcnn", Trunk(backbone(CNN)), CLASSES, HeadSettings())


@pytest.mark.parametrize("trunk", [CNN, SWIN, VIT, DIFFUSION, "random:huggingface:test_dinov2", "pixels"])
@pytest.mark.parametrize("name", ["mask-rcnn", "cascade-mask-rcnn"])
def test_losses_are_finite_and_gradients_reach_everything(name: str, trunk: str) -> None:
    made = detector(name, trunk)
    train_mode(made)
    losses = made.losses(batch())
    stages = len(made.stages)
    assert len(losses) == 2 + 2 * stages + 1
    assert all(loss.shape == () and loss.isfinite() and loss > 0 for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    named = dict(made.named_parameters())
    trained = {id(each): key for key, each in named.items() if each.requires_grad}
    listed = [each for _, group in [*made.trunk.layers(), *made.layers()] for each in group if each.requires_grad]
    assert sorted(id(each) for each in listed) == sorted(trained)
    without = [key for key, each in named.items() if each.requires_grad and each.grad is None]
    assert all(key.startswith("trunk.") for key in without), without
    assert (
        any(each.grad is not None and each.grad.abs().sum() > 0 for each in made.trunk.parameters())
        or trunk == "pixels"
    )
    for part in (made.pyramid, made.proposing, *made.stages, made.mask_branch):
        assert any(each.grad.abs().sum() > 0 for each in part.parameters())
