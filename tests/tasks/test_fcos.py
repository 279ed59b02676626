"""FCOS over tiny random trunks: against torchvision's model, the paper's equations in a loop, and what it learns."""

import math
from collections import OrderedDict
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou, generalized_box_iou

from backbones.base import Backbone
from backbones.catalogue import load
from backbones.training.parameter_groups import train_mode
from tasks.detection.batch import DetectionBatch, Truth
from tasks.detection.catalogue import build_detector
from tasks.detection.detectors.fcos import AnchorFree
from tasks.detection.head_settings import HeadSettings
from tasks.trunk import Trunk

CNN, VIT = "random:timm:test_resnet", "random:timm:test_vit"
DIFFUSION, PATCHES_OF_14 = "random:diffusers:test_unet", "random:huggingface:test_dinov2"
CLASSES = 3
HEIGHT, WIDTH = 128, 192


@cache
def backbone(name: str) -> Backbone:
    return load(name)


def detector(trunk: str = CNN, train: Any = "end-to-end", **settings: Any) -> AnchorFree:
    torch.manual_seed(0)
    asked = HeadSettings(**{"pyramid_channels": 32, "score_threshold": 0.0, **settings})
    made = build_detector("fcos", Trunk(backbone(trunk), train), CLASSES, asked)
    assert isinstance(made, AnchorFree)
    return made


def batch(counts: tuple[int, ...] = (3, 2), seed: int = 0, whole: bool = False) -> DetectionBatch:
    """Noise with rectangles, bright in the channel of their class; every other image is smaller than the canvas."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(len(counts), 3, HEIGHT, WIDTH, generator=generator) * 0.2
    sizes = tuple((HEIGHT, WIDTH) if whole or not row % 2 else (100, 150) for row in range(len(counts)))
    truths = []
    for row, ((height, width), count) in enumerate(zip(sizes, counts, strict=True)):
        images[row, :, height:], images[row, :, :, width:] = 0, 0
        corners = torch.rand(count, 2, generator=generator) * torch.tensor([width - 64.0, height - 64.0])
        boxes = torch.cat([corners, corners + 24 + 40 * torch.rand(count, 2, generator=generator)], 1).round()
        labels = torch.randint(0, CLASSES, (count,), generator=generator)
        for label, (left, top, right, bottom) in zip(labels, boxes.int().tolist(), strict=True):
            images[row, :, top:bottom, left:right] = 0
            images[row, label, top:bottom, left:right] = 2
        truths.append(Truth(boxes, labels, None))
    return DetectionBatch(images, sizes, tuple(truths), tuple(f"{row}.png" for row in range(len(counts))))


def sum_of(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def awake(made: AnchorFree) -> AnchorFree:
    """Boxes of a fresh head are points: give them a size, different everywhere."""
    head = made.dense.head
    nn.init.constant_(head.regression_head.bbox_reg.bias, 2.0)
    for layer in (
        head.regression_head.bbox_reg,
        head.regression_head.bbox_ctrness,
        head.classification_head.cls_logits,
    ):
        nn.init.normal_(layer.weight, std=0.1)
    return made


class Levels(nn.Module):
    """Trunk and pyramid as torchvision takes a backbone."""

    def __init__(self, made: AnchorFree) -> None:
        super().__init__()
        self.trunk, self.pyramid, self.out_channels = made.trunk, made.pyramid, made.pyramid.channels

    def forward(self, images: Tensor) -> "OrderedDict[str, Tensor]":
        levels = self.pyramid(self.trunk.maps(images))
        return OrderedDict((str(row), level) for row, level in enumerate(levels[1:]))  # without that of stride 4


class Middles(AnchorGenerator):  # type: ignore[misc]
    """torchvision's squares, half a cell to the right and below."""

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        found = super().forward(image_list, feature_maps)
        return [each + (each[:, 2] - each[:, 0])[:, None] / 2 for each in found]


def oracle(made: AnchorFree) -> FCOS:
    middles = Middles(tuple((side,) for side in (8, 16, 32, 64)), ((1.0,),) * 4)
    plain = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3, "min_size": 128, "max_size": 192}
    settings = {"score_thresh": 0.02, "nms_thresh": 0.5, "detections_per_img": 20, "topk_candidates": 50}
    model = FCOS(Levels(made), CLASSES, anchor_generator=middles, **plain, **settings)
    model.head.load_state_dict(made.dense.head.state_dict())
    return model


@pytest.mark.parametrize("trunk", [CNN, VIT])
def test_losses_and_gradients_are_those_of_torchvisions_own_model(trunk: str) -> None:
    made, seen = awake(detector(trunk)), batch((3, 0, 2), whole=True)
    model = oracle(made)
    train_mode(made)
    model.head.train()
    targets = [{"boxes": truth.boxes, "labels": truth.labels} for truth in seen.truths]
    expected = model(list(seen.images), targets)
    found = made.losses(seen)
    assert [*found] == ["classes", "boxes", "centreness"]
    names = ("classification", "bbox_regression", "bbox_ctrness")
    for name, loss in zip(names, found.values(), strict=True):
        torch.testing.assert_close(loss, expected[name])
    sum_of(found).backward()
    sum_of(expected).backward()
    for one, other in zip(made.dense.head.parameters(), model.head.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("trunk", [CNN, VIT])
def test_detections_are_those_of_torchvisions_own_model(trunk: str) -> None:
    made = awake(detector(trunk, score_threshold=0.02, proposals=50, detections_per_image=20)).eval()
    model = oracle(made).eval()
    seen = batch(whole=True)
    expected = model(list(seen.images))
    for found, theirs in zip(made.detect(seen.images, seen.sizes), expected, strict=True):
        left, top, right, bottom = theirs["boxes"].unbind(1)
        kept = (right - left >= 0.01) & (bottom - top >= 0.01)
        assert kept.sum() > 15
        torch.testing.assert_close(found.boxes, theirs["boxes"][kept])
        torch.testing.assert_close(found.scores, theirs["scores"][kept])
        assert torch.equal(found.labels, theirs["labels"][kept])
        assert found.masks is None


def test_losses_are_the_papers_equations_in_a_loop() -> None:
    made, seen = awake(detector()), batch((4, 2))
    train_mode(made)
    found = made.losses(seen)
    levels = made.pyramid(made.trunk.maps(seen.images))[1:]
    outputs = {name: output.detach() for name, output in made.dense.head(levels).items()}
    focal, distance, centre, positives = 0.0, 0.0, 0.0, 0
    for image, truth in enumerate(seen.truths):
        row = 0
        for level, stride in zip(levels, (8, 16, 32, 64), strict=True):
            smallest, largest = {8: (0, 64), 64: (256, math.inf)}.get(stride, (4 * stride, 8 * stride))
            for y in range(level.shape[2]):
                for x in range(level.shape[3]):
                    point = (stride * (x + 0.5), stride * (y + 0.5))
                    box, label, sides = assigned(point, stride, (smallest, largest), truth)
                    for each, logit in enumerate(outputs["cls_logits"][image, row].double()):
                        chance = logit.sigmoid()
                        if each == label:
                            focal -= float(0.25 * (1 - chance) ** 2 * logsigmoid(logit))
                        else:
                            focal -= float(0.75 * chance**2 * logsigmoid(-logit))
                    if box is not None:
                        positives += 1
                        far = outputs["bbox_regression"][image, row].double() * stride
                        drawn = [point[0] - far[0], point[1] - far[1], point[0] + far[2], point[1] + far[3]]
                        overlap = generalized_box_iou(torch.stack(drawn)[None], box[None].double())
                        distance += 1 - float(overlap)
                        (left, top, right, bottom) = sides
                        aim = math.sqrt(min(left, right) / max(left, right) * (min(top, bottom) / max(top, bottom)))
                        logit = outputs["bbox_ctrness"][image, row, 0].double()
                        centre -= float(aim * logsigmoid(logit) + (1 - aim) * logsigmoid(-logit))
                    row += 1
    assert positives > 10
    for name, total in {"classes": focal, "boxes": distance, "centreness": centre}.items():
        assert float(found[name].detach()) == pytest.approx(total / positives, rel=1e-4)


def assigned(
    point: tuple[float, float], stride: int, span: tuple[float, float], truth: Truth
) -> tuple[Tensor | None, int, tuple[float, ...]]:
    """The smallest box of a location, its label, and the location's distances from its sides."""
    best: tuple[Tensor | None, int, tuple[float, ...]] = (None, -1, ())
    area = math.inf
    for box, label in zip(truth.boxes, truth.labels.tolist(), strict=True):
        left, top, right, bottom = box.tolist()
        sides = (point[0] - left, point[1] - top, right - point[0], bottom - point[1])
        off = max(abs(point[0] - (left + right) / 2), abs(point[1] - (top + bottom) / 2))
        fits = min(sides) > 0 and off < 1.5 * stride and span[0] < max(sides) < span[1]
        if fits and (right - left) * (bottom - top) < area:
            best, area = (box, label, sides), (right - left) * (bottom - top)
    return best


@pytest.mark.parametrize("trunk", [CNN, VIT, DIFFUSION, PATCHES_OF_14, "pixels"])
def test_gradients_reach_everything(trunk: str) -> None:
    made = detector(trunk)
    train_mode(made)
    losses = made.losses(batch())
    assert all(loss.shape == () and loss.isfinite() and loss > 0 for loss in losses.values())
    sum_of(losses).backward()
    trained = {id(each) for each in made.parameters() if each.requires_grad}
    listed = [id(each) for _, group in [*made.trunk.layers(), *made.layers()] for each in group]
    assert sorted(listed) == sorted(trained)
    assert all(each.grad is not None for each in made.dense.parameters())
    assert any(each.grad is not None and each.grad.abs().sum() > 0 for each in made.pyramid.parameters())


def test_a_frozen_trunk_gets_no_gradients() -> None:
    made = detector(train="frozen")
    train_mode(made)
    assert not any(module.training for module in made.trunk.modules())
    sum_of(made.losses(batch())).backward()
    assert all(parameter.grad is None for parameter in made.trunk.parameters())


def test_images_without_objects_are_learnt_from_too() -> None:
    made = detector()
    train_mode(made)
    losses = made.losses(batch((0, 0)))
    assert losses["classes"] > 0
    assert losses["boxes"] == losses["centreness"] == 0
    sum_of(losses).backward()
    head = made.dense.head.classification_head
    assert head.cls_logits.bias.grad.abs().sum() > 0
    assert all(each.grad is None or each.grad.isfinite().all() for each in made.parameters())


def test_boxes_stay_inside_the_image_and_have_an_area() -> None:
    made = awake(detector(detections_per_image=30)).eval()
    nn.init.constant_(made.dense.head.regression_head.bbox_reg.bias, -0.5)  # many of no width
    seen = batch()
    for found, (height, width) in zip(made.detect(seen.images, seen.sizes), seen.sizes, strict=True):
        assert 0 < len(found.boxes) <= 30
        assert (found.boxes[:, 2:] - found.boxes[:, :2] > 0).all()
        assert (found.boxes >= 0).all()
        assert (found.boxes[:, 2] <= width).all()
        assert (found.boxes[:, 3] <= height).all()
        assert (found.scores.diff() <= 0).all()
        assert set(found.labels.tolist()) <= {0, 1, 2}
    assert all(len(each.boxes) == 0 for each in detector(score_threshold=0.99).eval().detect(seen.images, seen.sizes))


def test_autocast_loses_little() -> None:
    made, seen = awake(detector()), batch()
    train_mode(made)
    expected = made.losses(seen)
    with torch.autocast("cpu", torch.bfloat16):
        found = made.losses(seen)
    for name, loss in found.items():
        assert loss.dtype == torch.float32
        assert float(loss) == pytest.approx(float(expected[name]), rel=0.05)


def test_pyramid_channels_come_in_groups() -> None:
    with pytest.raises(ValueError, match="pyramid_channels 48 must be a multiple of 32"):
        detector(pyramid_channels=48)


def trained(made: AnchorFree, steps: int, images: int) -> list[float]:
    """Losses of steps on fresh images."""
    train_mode(made)
    optimiser = torch.optim.AdamW([each for each in made.parameters() if each.requires_grad], lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    losses = []
    for step in range(steps):
        loss = sum_of(made.losses(batch((2,) * images, seed=step)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(float(loss))
    return losses


def recall(made: AnchorFree, images: int) -> float:
    """Of unseen objects: how many are overlapped by half or more by a detection of their class, scored above 0.3."""
    seen = batch((2,) * images, seed=10_000)
    hits, total = 0, 0
    for found, truth in zip(made.eval().detect(seen.images, seen.sizes), seen.truths, strict=True):
        sure = found.scores > 0.3
        for box, label in zip(truth.boxes, truth.labels, strict=True):
            same = found.boxes[sure & (found.labels == label)]
            hits += bool(len(same) and box_iou(box[None], same).max() >= 0.5)
            total += 1
    return hits / total


def test_a_few_steps_lessen_the_loss() -> None:
    losses = trained(detector(), 25, 2)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


@pytest.mark.slow
@pytest.mark.parametrize(("trunk", "least"), [(CNN, 0.8), (VIT, 0.8)])
def test_finds_coloured_rectangles_it_has_not_seen(trunk: str, least: float) -> None:
    made = detector(trunk, score_threshold=0.05)
    before = recall(made, 16)
    trained(made, 300, 4)
    assert before < 0.1
    assert recall(made, 16) >= least
