"""Region detectors over tiny random trunks: torchvision's own models are the oracle, loops the slow obvious version."""

import math
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
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
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


def test_a_frozen_trunk_gets_no_gradients_and_stays_in_evaluation_mode() -> None:
    made = detector("cascade-mask-rcnn", train="frozen")
    before = {name: value.clone() for name, value in made.trunk.state_dict().items()}
    train_mode(made)
    assert made.training
    assert not any(module.training for module in made.trunk.modules())
    _sum(made.losses(batch())).backward()
    assert all(parameter.grad is None for parameter in made.trunk.parameters())
    assert made.trunk.layers() == []
    assert all(torch.equal(before[name], value) for name, value in made.trunk.state_dict().items())
    assert any(parameter.grad is not None for parameter in made.pyramid.parameters())


@pytest.mark.parametrize("trunk", [CNN, VIT])
def test_a_few_steps_on_one_batch_more_than_halve_the_loss(trunk: str) -> None:
    made, seen = detector("cascade-mask-rcnn", trunk), batch()
    train_mode(made)
    optimiser = torch.optim.AdamW([each for each in made.parameters() if each.requires_grad], lr=2e-3)
    losses = []
    for _ in range(25):
        loss = _sum(made.losses(seen))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-3:]) / 3 < losses[0] / 2


@pytest.mark.parametrize("name", ["faster-rcnn", "mask-rcnn"])
def test_losses_and_detections_are_those_of_torchvision_with_the_same_weights(name: str) -> None:
    ours, seen = detector(name), batch()
    theirs = _torchvision(ours)
    images = [image[:, :height, :width] for image, (height, width) in zip(seen.images, seen.sizes, strict=True)]
    targets: list[dict[str, Tensor]] = [
        {"boxes": truth.boxes, "labels": truth.labels + 1, "masks": truth.masks[:, :height, :width]}
        for truth, (height, width) in zip(seen.truths, seen.sizes, strict=True)
        if truth.masks is not None
    ]
    train_mode(ours), theirs.train()
    torch.manual_seed(1)
    found = ours.losses(seen)
    torch.manual_seed(1)
    expected = theirs(images, targets)
    names = {"classes_1": "classifier", "boxes_1": "box_reg", "masks": "mask"}
    for key, value in found.items():
        torch.testing.assert_close(value, expected[f"loss_{names.get(key, key)}"], msg=key)
    assert len(found) == len(expected)

    ours.eval(), theirs.eval()
    for one, other, size in zip(ours.detect(seen.images, seen.sizes), theirs(images), seen.sizes, strict=True):
        assert len(one.boxes) > 20
        torch.testing.assert_close(one.boxes, other["boxes"])
        torch.testing.assert_close(one.scores, other["scores"])
        assert torch.equal(one.labels + 1, other["labels"])
        if one.masks is not None:
            pasted = paste_masks_in_image(one.masks[:, None], one.boxes, size)
            torch.testing.assert_close(pasted, other["masks"])


def test_stages_assign_by_their_thresholds_and_code_with_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sample of every stage, one by one, in plain Python."""
    made, seen = detector("cascade-mask-rcnn"), batch()
    for stage in made.stages:  # offsets that move boxes
        nn.init.normal_(stage.box_predictor.bbox_pred.weight, std=0.2)
    calls = _recorded(monkeypatch, made)
    train_mode(made)
    made.losses(seen)
    thresholds, scales = (0.5, 0.6, 0.7), ((10, 10, 5, 5), (20, 20, 10, 10), (30, 30, 15, 15))
    assert len(calls) == 3
    positives = 0
    for number, (proposals, samples, _, _) in enumerate(calls):
        for image, truth in enumerate(seen.truths):
            candidates = [*proposals[image].tolist(), *truth.boxes.tolist()]
            rows = zip(*(column[image].tolist() for column in samples), strict=True)
            for box, row, label, offsets in rows:
                assert any(box == pytest.approx(each, abs=1e-4) for each in candidates)
                overlaps = [_overlap(box, each) for each in truth.boxes.tolist()]
                assert overlaps[row] == pytest.approx(max(overlaps)) or label == 0
                assert label == (int(truth.labels[row]) + 1 if max(overlaps) >= thresholds[number] else 0)
                if label:
                    positives += 1
                    assert offsets == pytest.approx(_coded(box, truth.boxes[row].tolist(), scales[number]), abs=1e-3)
    assert positives > 10


def test_a_stage_is_given_the_boxes_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = detector("cascade-rcnn"), batch()
    for stage in made.stages:
        nn.init.normal_(stage.box_predictor.bbox_pred.weight, std=0.2)
    calls = _recorded(monkeypatch, made)
    train_mode(made)
    made.losses(seen)
    scales = ((10, 10, 5, 5), (20, 20, 10, 10))
    for scale, (_, samples, logits, offsets), (given, _, _, _) in zip(scales, calls, calls[1:], strict=False):
        rows = iter(zip(logits.tolist(), offsets.tolist(), strict=True))
        for image, (height, width) in enumerate(seen.sizes):
            expected = []
            columns = (samples.boxes[image], samples.labels[image], samples.offsets[image])
            for box, label, target in zip(*(column.tolist() for column in columns), strict=True):
                scores, moves = next(rows)
                chosen = label or max(range(1, CLASSES + 1), key=scores.__getitem__)
                moved = _moved(box, moves[4 * chosen : 4 * chosen + 4], scale)
                inside = [min(max(each, 0), limit) for each, limit in zip(moved, (width, height) * 2, strict=True)]
                if not label or any(target):
                    expected.append(inside)
            torch.testing.assert_close(given[image], torch.tensor(expected), atol=1e-2, rtol=1e-4)
            assert len(expected) < len(samples.boxes[image])


def test_later_stages_weigh_half_and_a_quarter(monkeypatch: pytest.MonkeyPatch) -> None:
    made, whole = detector("cascade-rcnn"), []
    losses = Stage.losses

    def counting(self: Stage, *given: Any) -> Any:
        whole.append(losses(self, *given))
        return whole[-1]

    monkeypatch.setattr(Stage, "losses", counting)
    train_mode(made)
    found = made.losses(batch())
    for number, (weight, (classes, boxes)) in enumerate(zip((1, 0.5, 0.25), whole, strict=True), 1):
        assert found[f"classes_{number}"].item() == pytest.approx(weight * classes.item())
        assert found[f"boxes_{number}"].item() == pytest.approx(weight * boxes.item())


@pytest.mark.parametrize("agnostic", [False, True])
def test_scores_are_the_mean_of_the_stages_and_boxes_the_last_ones(
    agnostic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, seen = detector("cascade-rcnn", class_agnostic=agnostic, detection_overlap=1.0), batch((2,))
    for stage in made.stages:
        nn.init.normal_(stage.box_predictor.bbox_pred.weight, std=0.1)
        nn.init.normal_(stage.box_predictor.cls_score.weight, std=0.5)
    calls = _recorded(monkeypatch, made)
    (found,) = made.eval().detect(seen.images, seen.sizes)
    mean = sum(logits.softmax(1) for _, _, logits, _ in calls) / 3
    best = mean[:, 1:].flatten().sort(descending=True)
    torch.testing.assert_close(found.scores, best.values[: len(found.scores)])
    (boxes,), _, _, offsets = calls[-1]
    for box, label, place in zip(found.boxes.tolist(), found.labels.tolist(), best.indices.tolist(), strict=False):
        row, index = divmod(place, CLASSES)
        moves = offsets[row].view(-1, 4)
        assert len(moves) == CLASSES + 1
        assert not agnostic or (moves == moves[0]).all()
        moved = _moved(boxes[row].tolist(), moves[index + 1].tolist(), (30, 30, 15, 15))
        inside = [min(max(each, 0), limit) for each, limit in zip(moved, (WIDTH, HEIGHT) * 2, strict=True)]
        assert label == index
        assert box == pytest.approx(inside, abs=1e-2)
    assert len(found.boxes) == 100


@pytest.mark.parametrize("trunk", [CNN, VIT, DIFFUSION])
@pytest.mark.parametrize("name", NAMES)
def test_detections_lie_in_their_image_best_first(name: str, trunk: str) -> None:
    made, seen = detector(name, trunk, detections_per_image=20).eval(), batch()
    for found, (height, width) in zip(made.detect(seen.images, seen.sizes), seen.sizes, strict=True):
        assert 0 < len(found.boxes) <= 20
        assert (found.boxes >= 0).all()
        assert (found.boxes <= torch.tensor([width, height, width, height])).all()
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
        assert (found.scores.diff() <= 0).all()
        assert (found.scores >= 0).all()
        assert (found.scores <= 1).all()
        assert set(found.labels.tolist()) <= set(range(CLASSES))
        assert (found.masks is not None) == made.masks == name.endswith("mask-rcnn")
        if found.masks is not None:
            assert found.masks.shape == (len(found.boxes), 28, 28)
            assert (found.masks.min() >= 0) & (found.masks.max() <= 1)
        assert not found.scores.requires_grad


@pytest.mark.parametrize("name", ["mask-rcnn", "cascade-mask-rcnn"])
@pytest.mark.parametrize("box_loss", ["smooth-l1", "giou"])
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("objects", [(0, 0), (0, 2)])
def test_images_without_objects_are_negatives(name: str, box_loss: str, norm: str, objects: tuple[int, int]) -> None:
    made = detector(name, box_loss=box_loss, head_norm=norm, mask_norm=norm, box_convolutions=1)
    train_mode(made)
    losses = made.losses(batch(objects))
    assert all(loss.isfinite() for loss in losses.values())
    for key, loss in losses.items():
        learnt = key.startswith(("objectness", "classes")) or any(objects)
        assert (loss > 0) if learnt else (loss == 0), key
    _sum(losses).backward()
    assert all(each.grad.isfinite().all() for each in made.parameters() if each.grad is not None)


@pytest.mark.parametrize("name", ["mask-rcnn", "cascade-mask-rcnn"])
@pytest.mark.parametrize("objects", [0, 1])
def test_a_tiny_image_on_a_large_canvas(name: str, objects: int) -> None:
    """With one proposal a level, those are beside the image: it is proposed as a whole."""
    made = detector(name, training_proposals=1, proposals=1)
    boxes = torch.tensor([[1.0, 2, 9, 10]] * objects).reshape(-1, 4)
    truth = Truth(boxes, torch.zeros(objects, dtype=torch.int64), torch.ones(objects, 512, 512, dtype=torch.uint8))
    seen = DetectionBatch(torch.zeros(1, 3, 512, 512), ((12, 12),), (truth,), ("small.png",))
    train_mode(made)
    with torch.no_grad():  # the last cells are the likeliest
        made.proposing.head.cls_logits.bias.fill_(1)
    losses = made.losses(seen)
    assert all(loss.isfinite() for loss in losses.values())
    (found,) = made.eval().detect(seen.images, seen.sizes)
    assert (found.boxes <= 12).all()


def test_nothing_found_is_an_empty_answer() -> None:
    made, seen = detector("cascade-mask-rcnn", score_threshold=0.99).eval(), batch()
    for found in made.detect(seen.images, seen.sizes):
        assert found.boxes.shape == (0, 4)
        assert found.masks is not None
        assert found.masks.shape == (0, 28, 28)


@pytest.mark.parametrize("trunk", [CNN, SWIN, VIT, DIFFUSION])
def test_half_precision_changes_losses_little_and_boxes_stay_whole(trunk: str) -> None:
    made, seen = detector("cascade-mask-rcnn", trunk), batch()
    train_mode(made)
    whole = _losses(made, seen)
    with torch.autocast("cpu", torch.bfloat16):
        half = _losses(made, seen)
    assert half.keys() == whole.keys()
    for name in whole:
        assert half[name] == pytest.approx(whole[name], rel=0.1, abs=0.05), name
    made.eval()
    with torch.autocast("cpu", torch.bfloat16):
        found = made.detect(seen.images, seen.sizes)
    for each in found:
        assert all(column.dtype == torch.float32 for column in (each.boxes, each.scores, each.masks))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "settings",
    [
        {"rpn_convolutions": 2, "rpn_norm": "layer", "head_norm": "layer", "mask_norm": "layer", "box_convolutions": 4},
        {"head_norm": "batch", "box_convolutions": 4, "box_loss": "giou"},
        {"class_agnostic": True},
        {"class_agnostic": True, "box_loss": "giou"},
    ],
)
def test_recipes_of_the_study_train_all_they_have(settings: dict[str, Any]) -> None:
    made = detector("cascade-mask-rcnn", **settings)
    train_mode(made)
    losses = made.losses(batch())
    assert all(loss.isfinite() for loss in losses.values())
    _sum(losses).backward()
    (group,) = (parameters for _, parameters in made.layers())
    assert all(parameter.grad is not None for parameter in group)
    width = made.stages[0].box_predictor.bbox_pred.out_features
    assert width == (4 if settings.get("class_agnostic") else 4 * (CLASSES + 1))
    convolutions = [each for each in made.proposing.head.conv.modules() if isinstance(each, nn.Conv2d)]
    assert len(convolutions) == settings.get("rpn_convolutions", 1)
    assert all(each.weight.std() < 0.02 for each in convolutions)


def test_giou_loss_is_ten_times_the_mean_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = detector("faster-rcnn", box_loss="giou"), batch()
    nn.init.normal_(made.stages[0].box_predictor.bbox_pred.weight, std=0.2)
    calls = _recorded(monkeypatch, made)
    train_mode(made)
    loss = made.losses(seen)["boxes_1"]
    ((_, samples, _, offsets),) = calls
    rows, total, count = iter(offsets.tolist()), 0.0, 0
    for image, truth in enumerate(seen.truths):
        columns = (samples.boxes[image], samples.objects[image], samples.labels[image])
        for box, row, label in zip(*(column.tolist() for column in columns), strict=True):
            moves, count = next(rows), count + 1
            if label:
                moved = _moved(box, moves[4 * label : 4 * label + 4], (10, 10, 5, 5))
                total += 1 - _generalised(moved, truth.boxes[row].tolist())
    assert loss.item() == pytest.approx(10 * total / count, rel=1e-3)


def test_masks_are_asked_for_by_the_name_of_the_image() -> None:
    seen = batch((1,))
    bare = seen._replace(truths=(seen.truths[0]._replace(masks=None),))
    made = detector("mask-rcnn")
    train_mode(made)
    with pytest.raises(ValueError, match=r"image '0.png' has no outlines.*faster-rcnn"):
        made.losses(bare)
    boxes_alone = detector("faster-rcnn")
    train_mode(boxes_alone)
    boxes_alone.losses(bare)


class Levels(nn.Module):
    """A trunk and pyramid as torchvision wants its backbone."""

    def __init__(self, made: RegionDetector) -> None:
        super().__init__()
        self.trunk, self.pyramid, self.out_channels = made.trunk, made.pyramid, made.pyramid.channels

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        levels = self.pyramid(self.trunk.maps(images))
        return OrderedDict(zip(("0", "1", "2", "3", "pool"), levels, strict=True))


def _torchvision(made: RegionDetector) -> nn.Module:
    """Its own model, anchors and pooling, with our weights."""
    channels, width = SMALL["pyramid_channels"], SMALL["head_width"]
    common: dict[str, Any] = {
        "rpn_anchor_generator": AnchorGenerator(
            tuple((size,) for size in (32, 64, 128, 256, 512)), ((0.5, 1.0, 2.0),) * 5
        ),
        "rpn_head": RPNHead(channels, 3),
        "box_head": TwoMLPHead(channels * 49, width),
        "box_predictor": FastRCNNPredictor(width, CLASSES + 1),
        "rpn_pre_nms_top_n_train": 100,
        "rpn_post_nms_top_n_train": 100,
        "rpn_pre_nms_top_n_test": 50,
        "rpn_post_nms_top_n_test": 50,
        "box_batch_size_per_image": 64,
        "box_score_thresh": 0.0,
        "image_mean": [0.0] * 3,
        "image_std": [1.0] * 3,
    }
    if made.mask_branch is None:
        model: Any = FasterRCNN(Levels(made), **common)
    else:
        heads = MaskRCNNHeads(channels, [channels] * 4, 1)
        predictor = MaskRCNNPredictor(channels, channels, CLASSES + 1)
        model = MaskRCNN(Levels(made), **common, mask_head=heads, mask_predictor=predictor)
        model.roi_heads.mask_head.load_state_dict(made.mask_branch.head.state_dict())
        model.roi_heads.mask_predictor.load_state_dict(made.mask_branch.predictor.state_dict())
    model.transform.resize = lambda image, target: (image, target)
    model.rpn.head.load_state_dict(made.proposing.head.state_dict())
    model.roi_heads.box_head.load_state_dict(made.stages[0].box_head.state_dict())
    model.roi_heads.box_predictor.load_state_dict(made.stages[0].box_predictor.state_dict())
    return model


def _recorded(monkeypatch: pytest.MonkeyPatch, made: Detector) -> list[list[Any]]:
    """By stage: proposals, samples, logits, offsets; filled when it is run."""
    calls: list[list[Any]] = []
    sample, predict = Stage.sample, Stage.predict

    def sampling(self: Stage, proposals: list[Tensor], targets: Any) -> Any:
        found = sample(self, proposals, targets)
        calls.append([[each.clone() for each in proposals], found])
        return found

    def predicting(self: Stage, levels: list[Tensor], boxes: list[Tensor]) -> Any:
        logits, offsets = predict(self, levels, boxes)
        if not self.training:
            calls.append([[each.clone() for each in boxes], None])
        calls[-1] += [logits.detach(), offsets.detach()]
        return logits, offsets

    monkeypatch.setattr(Stage, "sample", sampling)
    monkeypatch.setattr(Stage, "predict", predicting)
    return calls


def _losses(made: Detector, seen: DetectionBatch) -> dict[str, float]:
    torch.manual_seed(0)
    return {name: loss.item() for name, loss in made.losses(seen).items()}


def _sum(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def _sides(one: list[float], other: list[float]) -> Iterator[tuple[float, float]]:
    """Of the intersection and of the smallest box around both, across and down."""
    for near, far in ((0, 2), (1, 3)):
        yield (
            max(0, min(one[far], other[far]) - max(one[near], other[near])),
            (max(one[far], other[far]) - min(one[near], other[near])),
        )


def _area(box: list[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _overlap(one: list[float], other: list[float]) -> float:
    (across, _), (down, _) = _sides(one, other)
    return across * down / (_area(one) + _area(other) - across * down)


def _generalised(one: list[float], other: list[float]) -> float:
    (across, wide), (down, high) = _sides(one, other)
    union = _area(one) + _area(other) - across * down
    return across * down / union - (wide * high - union) / (wide * high)


def _coded(box: list[float], truth: list[float], scale: tuple[int, ...]) -> list[float]:
    width, height = box[2] - box[0], box[3] - box[1]
    return [
        scale[0] * ((truth[0] + truth[2]) / 2 - (box[0] + box[2]) / 2) / width,
        scale[1] * ((truth[1] + truth[3]) / 2 - (box[1] + box[3]) / 2) / height,
        scale[2] * math.log((truth[2] - truth[0]) / width),
        scale[3] * math.log((truth[3] - truth[1]) / height),
    ]


def _moved(box: list[float], moves: list[float], scale: tuple[int, ...]) -> list[float]:
    width, height = box[2] - box[0], box[3] - box[1]
    across = (box[0] + box[2]) / 2 + moves[0] / scale[0] * width
    down = (box[1] + box[3]) / 2 + moves[1] / scale[1] * height
    wide, high = (
        size * math.exp(move / by) for size, move, by in zip((width, height), moves[2:], scale[2:], strict=True)
    )
    return [across - wide / 2, down - high / 2, across + wide / 2, down + high / 2]
