"""Detection on pictures drawn here: it learns coloured rectangles, keeps the loop's rules, and refuses in words."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from backbones.base import Backbone
from backbones.catalogue import load
from backbones.places import Places
from backbones.training.execution import Execution
from backbones.training.loop import fit
from backbones.training.outcomes import Diverged
from backbones.training.recipe import Recipe
from tasks.base import Note, Outputs, Score, Tools
from tasks.datasets.base import Dataset, Split
from tasks.datasets.outlines import mask_of
from tasks.datasets.partition import every_part, partition
from tasks.detection.batch import DetectionBatch, Detections
from tasks.detection.catalogue import DETECTORS, build_detector, finds_masks
from tasks.detection.detecting import pyramid_kind
from tasks.detection.detection import Detection
from tasks.detection.detection_presets import BOB_2023_BY_PYRAMID
from tasks.detection.detector_trainee import DetectorTrainee
from tasks.detection.head_settings import HeadSettings
from tasks.detection.jitter import Jitter
from tasks.detection.predicting import detections
from tasks.detection.stream import DetectionStream, Item
from tasks.trunk import Trunk
from tests.detection_fakes import NARROW, Pngs, picture, rectangles
from tests.tiny_timm import timm_twin

CNN, VIT = "random:timm:test_resnet", "random:timm:test_vit"
QUICK: dict[str, Any] = {
    **NARROW,
    "detector": "mask-rcnn",
    "epochs": 2,
    "milestones": (1,),
    "global_batch": 4,
    "learning_rate": 1e-3,
    "warmup_epochs": 0.5,
    "trials": 1,
    "space": {},
    "jitter": "short-side",
    "short_side": 96,
    "long_side": 128,
    "short_sides": (64, 96),
    "batch_norm": "batch",
}


def backbone(name: str = CNN) -> Backbone:
    return load(name, Places())


def run(
    task: Detection, data: Dataset, body: Backbone | None = None, seed: int = 0, folder: Path | None = None, **how: Any
) -> tuple[dict[str, Score], dict[str, Note], dict[str, Outputs]]:
    def extract(*_: Any) -> Any:
        raise AssertionError("a detector uses no frozen features")

    tools = Tools(extract, Execution(device="cpu", workers=0, folder=folder, **how))
    answers = list(task.run(body or backbone(), {"dataset": [data]}, tools, seed))
    return (
        {one.metric: one for one in answers if isinstance(one, Score)},
        {one.name: one for one in answers if isinstance(one, Note)},
        {one.split: one for one in answers if isinstance(one, Outputs)},
    )


def trainee(name: str = CNN, detector: str = "mask-rcnn", train: Any = "end-to-end") -> DetectorTrainee:
    torch.manual_seed(0)
    return DetectorTrainee(backbone(name), detector, 3, HeadSettings(**NARROW), train, 0.0, "frozen")


def stream(data: Dataset, **settings: Any) -> DetectionStream:
    body = backbone()
    jitter = Jitter(**{"jitter": "none", "short_side": 96, "long_side": 128, "flip": 0.0, **settings})
    return DetectionStream(partition(data, 0).train, body.preprocess, jitter, 3, masks=True)


def test_a_run_tells_scores_items_and_what_it_learnt_from(tmp_path: Path) -> None:
    body = backbone()
    before = {name: value.clone() for name, value in body.state_dict().items()}
    scores, notes, outputs = run(Detection(**QUICK), rectangles(), body, folder=tmp_path)
    assert {"ap", "ap50", "mask_ap", "ar100"} <= scores.keys()
    assert all(0 <= score.value <= 1 for score in scores.values())
    assert {"test", "test:detections", "test:objects"} <= outputs.keys()
    assert len(outputs["test"].columns["item"]) == 12
    assert notes["steps"].value == 2 * (24 // 4)
    assert (notes["images_trained"].value, notes["negatives_trained"].value) == (24, 6)
    assert notes["pyramid"].value == "several-strides"
    assert notes["loss_by_epoch"].value[1] < notes["loss_by_epoch"].value[0]
    assert (tmp_path / "final" / "logs").is_dir()
    assert all(torch.equal(before[name], value) for name, value in body.state_dict().items())


def test_a_seed_gives_the_same_numbers_and_another_seed_others() -> None:
    task, data = Detection(**{**QUICK, "epochs": 1, "milestones": (0.5,)}), rectangles(8, 4)
    losses = [run(task, data, seed=seed)[1]["loss_by_epoch"].value for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


class StoppedError(Exception):
    """A run that is ended from outside."""


def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    task, data = Detection(**QUICK), rectangles(12, 8)
    whole = run(task, data)[0]

    def stop(what: str, done: int, total: int, detail: str = "") -> None:
        if (what, done) == ("step", 4):
            raise StoppedError

    with pytest.raises(StoppedError):
        run(task, data, folder=tmp_path, report=stop)
    scores, notes, _ = run(task, data, folder=tmp_path)
    assert notes["resumed"].value == [5]
    assert {name: score.value for name, score in scores.items()} == {name: score.value for name, score in whole.items()}


def test_the_device_batch_hardly_matters() -> None:
    """Losses are means over what is sampled, so parts of a batch weigh by their images, not by their samples."""
    task, data = Detection(**{**QUICK, "epochs": 1, "milestones": (0.5,), "batch_norm": "frozen"}), rectangles(16, 4)
    whole, parts = (run(task, data, device_batch=size)[1]["loss_by_epoch"].value[0] for size in (None, 2))
    assert parts == pytest.approx(whole, rel=0.1)


def test_frozen_trains_pyramid_and_heads_alone() -> None:
    frozen = trainee(train="frozen")
    before = {name: value.clone() for name, value in frozen.trunk.backbone.state_dict().items()}
    data = stream(rectangles(8, 4))
    assert [name for name, _ in frozen.layers()] == ["detector"]
    fit(frozen, data, Recipe(epochs=1, global_batch=4, warmup_epochs=0), Execution(device="cpu", workers=0), 0)
    assert all(torch.equal(before[name], value) for name, value in frozen.trunk.backbone.state_dict().items())


@pytest.mark.parametrize("name", [CNN, VIT])
def test_every_trained_parameter_has_a_gradient_even_of_negatives(name: str) -> None:
    """Processes that train together wait for all of them."""
    network = trainee(name, "cascade-mask-rcnn").train()
    data = stream(rectangles(8, 4))
    negatives = [row for row, objects in enumerate(data.part.objects or ()) if not len(objects)]
    for rows in ([0, 1], negatives[:1]):
        network.zero_grad()
        network(data.batch([data.load(row, 0) for row in rows], 0, torch.device("cpu"))).backward()
        lacking = [key for key, value in network.named_parameters() if value.requires_grad and value.grad is None]
        assert not lacking


class Poisoned(DetectionStream):
    """One image is not a number."""

    def batch(self, items: Sequence[Item], step: int, device: torch.device) -> DetectionBatch:
        batch = super().batch(items, step, device)
        for image, name in zip(batch.images, batch.names, strict=True):
            if name == "train/002.png":
                image[:] = torch.nan
        return batch


@pytest.mark.parametrize("device_batch", [None, 2])
def test_a_loss_that_is_not_a_number_names_the_images(device_batch: int | None) -> None:
    plain = stream(rectangles(8, 4), flip=0.5)
    poisoned = Poisoned(every_part(rectangles(8, 4))[0], plain.preprocess, plain.jitter, 3, masks=True)
    execution = Execution(device="cpu", workers=0, device_batch=device_batch)
    with pytest.raises(Diverged, match=r"train/002\.png") as caught:
        fit(trainee(), poisoned, Recipe(epochs=2, global_batch=4, warmup_epochs=0), execution, 0)
    assert len(caught.value.items) == (device_batch or 4)


def test_boxes_that_are_none_are_named_before_training() -> None:
    data = rectangles(8, 4)
    train = data.splits["train"]
    assert train.objects is not None
    for value in (np.nan, 0.0):
        boxes = train.objects[1].boxes.copy()
        boxes[0, 2] = value
        bad = dataclasses.replace(train.objects[1], boxes=boxes)
        objects = (train.objects[0], bad, *train.objects[2:])
        wrong = dataclasses.replace(data, splits={**data.splits, "train": dataclasses.replace(train, objects=objects)})
        with pytest.raises(ValueError, match=r"boxes of 1 images are not finite or have no area: train/001\.png"):
            DetectionStream(every_part(wrong)[0], backbone().preprocess, Jitter(), 0, masks=False)


def test_items_are_the_same_whoever_loads_them_and_vary_by_epoch() -> None:
    data = stream(rectangles(8, 4), jitter="large-scale", flip=0.5)
    one, again, later = data.load(1, 0), data.load(1, 0), data.load(1, 1)
    assert torch.equal(one.pixels, again.pixels)
    assert torch.equal(one.boxes, again.boxes)
    assert one.pixels.shape != later.pixels.shape or not torch.equal(one.pixels, later.pixels)
    batch = data.batch([one, later], 0, torch.device("cpu"))
    assert batch.images.shape == (2, 3, 128, 128)
    for image, (height, width), truth in zip(batch.images, batch.sizes, batch.truths, strict=True):
        assert not image[:, height:].any()
        assert not image[:, :, width:].any()
        assert image[:, :height, :width].abs().sum() > 0
        assert truth.masks is not None
        assert truth.masks.shape[1:] == (128, 128)


class Told(DetectorTrainee):
    """Finds what it was told is in each image, at the size it sees: maps of boxes by the image's (height, width)."""

    def tell(self, boxes: dict[tuple[int, int], np.ndarray]) -> "Told":
        def detect(images: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Detections]:
            assert images.shape[2] % 32 == images.shape[3] % 32 == 0
            found = [torch.from_numpy(boxes[size]) for size in sizes]
            return [
                Detections(one, torch.ones(len(one)), torch.zeros(len(one), dtype=torch.int64), _full(len(one)))
                for one in found
            ]

        self.detector.detect = detect  # type: ignore[method-assign]
        return self


def _full(count: int) -> Tensor:
    return torch.ones(count, 28, 28)


def test_boxes_and_masks_come_back_in_pixels_of_the_image() -> None:
    """Images of two sizes, in an order that batches of like sizes do not keep."""
    sizes = [(96, 128), (150, 90), (96, 128)]
    drawn = [picture(4 * row, size) for row, size in enumerate(sizes)]
    data = rectangles(3, 3)
    images = Pngs([pixels for pixels, _ in drawn], "test")
    objects = tuple(each for _, each in drawn)
    split = Split(images, np.full(3, -1), tuple(images.names), objects=objects)
    part = partition(dataclasses.replace(data, splits={"train": data.splits["train"], "test": split}), 0).test
    seen = {(192, 256): np.asarray([[20, 40, 120, 100]], np.float32), (256, 154): np.zeros((0, 4), np.float32)}
    told = Told(backbone(), "mask-rcnn", 3, HeadSettings(**NARROW), "frozen", 0.0, "frozen").tell(seen)
    jitter = Jitter(short_side=192, long_side=256)
    found = detections(told, part, backbone().preprocess, jitter, Execution(device="cpu", workers=0))
    assert [len(one.labels) for one in found] == [1, 0, 1]
    assert found[0].boxes.tolist() == [[10.0, 20.0, 60.0, 50.0]]
    assert found[0].outlines is not None
    mask = mask_of(found[0].outlines[0], (96, 128))
    assert mask[21:49, 11:59].all()
    assert int(mask.sum()) == pytest.approx(50 * 30, rel=0.12)


def test_a_detector_says_by_its_name_whether_it_learns_masks() -> None:
    for name in DETECTORS.found:
        made = build_detector(name, Trunk(backbone(), "frozen"), 3, HeadSettings(**{**NARROW, "pyramid_channels": 32}))
        assert made.masks == finds_masks(name)


def test_every_detector_runs_under_the_task() -> None:
    data = rectangles(8, 4)
    for name in sorted(DETECTORS.found):
        scores, notes, _ = run(Detection(**{**QUICK, "detector": name, "pyramid_channels": 32}), data)
        assert 0 <= scores["ap"].value <= 1
        assert ("mask_ap" in scores) == finds_masks(name)
        assert notes["steps"].value > 0


def test_what_cannot_be_learnt_is_refused_in_words() -> None:
    data, body = rectangles(8, 4), backbone()
    refused = Detection(**QUICK).refusal(body, {"dataset": [dataclasses.replace(data, target="class")]})
    assert refused is not None
    assert "this task needs boxes around the objects" in refused
    bare = rectangles(8, 4, outlined=False)
    refused = Detection(**QUICK).refusal(body, {"dataset": [bare]})
    assert refused is not None
    assert "boxes without outlines (first: 'train/" in refused
    assert "cascade-rcnn" in refused
    assert Detection(**{**QUICK, "detector": "cascade-rcnn"}).refusal(body, {"dataset": [bare]}) is None
    refused = Detection(**{**QUICK, "global_batch": 9}).refusal(body, {"dataset": [data]})
    assert refused == "dataset 'rectangles': global_batch is 9, but 8 images are trained on"
    refused = Detection(**QUICK).refusal(body, {"dataset": [_of_other_classes(data)]})
    assert refused is not None
    assert "test has classes [3] in 'test/000.png', but there are 3 (0..2)" in refused
    body.feature_maps = _none  # type: ignore[method-assign]
    refused = Detection(**QUICK).refusal(body, {"dataset": [data]})
    assert refused is not None
    assert refused.startswith(f"backbone {body.card.name!r} gives no dense features (feature_maps), and a detector")


def test_a_backbone_of_one_size_is_under_a_detector_that_pads_to_it(tmp_path: Path) -> None:
    small = {"embed_dim": 16, "num_heads": 1, "stages": [1, 1, 1, 1]}
    data, body = rectangles(8, 3), timm_twin(tmp_path, "hiera_tiny_224", small, size=224)
    sides = {"short_side": 224, "long_side": 224, "global_batch": 2, "detector": "faster-rcnn"}
    task = Detection(**{**QUICK, **sides, "jitter": "large-scale"})
    assert task.refusal(body, {"dataset": [data]}) is None
    scores, _, outputs = run(task, data, body)
    assert 0 <= scores["ap"].value <= 1
    assert len(outputs["test"].columns["item"]) == 3
    refused = Detection(**{**QUICK, **sides, "jitter": "none"}).refusal(body, {"dataset": [data]})
    assert refused is not None
    assert "cannot take 160 x 128" in refused


def test_attention_in_windows_is_for_plain_vision_transformers() -> None:
    data = rectangles(8, 4)
    windowed = Detection(**{**QUICK, "window": 2})
    refused = windowed.refusal(backbone(), {"dataset": [data]})
    assert refused is not None
    assert "is no plain vision transformer" in refused
    vit = backbone("random:timm:test_vit")
    assert windowed.refusal(vit, {"dataset": [data]}) is None
    plain, other = (
        DetectorTrainee(vit, "faster-rcnn", 3, HeadSettings(**NARROW), "frozen", 0.0, "frozen", window).eval()
        for window in (None, 2)
    )
    images = torch.randn(1, 3, 128, 96, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(plain.trunk.maps(images)[16], other.trunk.maps(images)[16])
    chosen = [Detection(window=window).chosen({}, 1, 16).facts()["window"] for window in (None, 2)]
    assert chosen == [None, 2]


def _none(images: Tensor) -> dict[int, Tensor]:
    raise NotImplementedError


def _of_other_classes(data: Dataset) -> Dataset:
    """A test split whose list of categories is longer than the one that is trained on."""
    test = data.splits["test"]
    assert test.objects is not None
    other = dataclasses.replace(test.objects[0], labels=np.full(len(test.objects[0]), 3, np.int64))
    changed = dataclasses.replace(test, objects=(other, *test.objects[1:]))
    return dataclasses.replace(data, splits={**data.splits, "test": changed})


def test_the_study_has_a_recipe_for_each_kind_of_pyramid() -> None:
    task = Detection(preset="bob2023")  # type: ignore[call-arg]
    recipes = {kind: task._of(kind).chosen({}, 36, 117266) for kind in BOB_2023_BY_PYRAMID}
    assert recipes["several-strides"].jitter.short_sides == tuple(range(480, 801, 32))
    assert recipes["several-strides"].heads.box_loss == "giou"
    assert recipes["one-stride"].jitter.square == 1024
    assert recipes["one-stride"].heads.rpn_convolutions == 2
    assert recipes["diffusion"].jitter.long_side == 512
    for chosen in recipes.values():
        recipe = chosen.recipe
        assert (recipe.epochs, recipe.milestones, recipe.weight_decay) == (36, (27, 33), 0.05)
        assert recipe.warmup_epochs == pytest.approx(1000 / (117266 // 16))
        assert recipe.decay_vectors
    assert sorted({task.learning_rate, *task.space["learning_rate"]}) == [8e-5, 1e-4, 2e-4, 3e-4]
    assert pyramid_kind(backbone(CNN)) == "several-strides"
    assert pyramid_kind(backbone(VIT)) == "one-stride"
    assert pyramid_kind(backbone("random:diffusers:test_unet")) == "diffusion"


def test_fair_is_one_recipe_and_light_a_third_of_it() -> None:
    assert Detection(preset="fair") == Detection()  # type: ignore[call-arg]
    assert not Detection().by_pyramid
    light = Detection(preset="light")  # type: ignore[call-arg]
    assert (light.epochs, light.short_side) == (12, 512)
    halved = Detection().chosen({"learning_rate": 2e-4}, 18, 100)
    assert (halved.recipe.milestones, halved.recipe.learning_rate) == ((13.5, 16.5), 2e-4)


def test_a_kind_of_pyramid_has_the_settings_meant_for_it() -> None:
    by_pyramid = {"several-strides": {"epochs": 1, "milestones": (0.5,)}, "one-stride": {"epochs": 50}}
    notes = run(Detection(**QUICK, by_pyramid=by_pyramid), rectangles(8, 4))[1]
    assert notes["steps"].value == 2
    assert notes["settings_of_the_pyramid"].value == by_pyramid["several-strides"]


def test_settings_are_chosen_on_val_with_a_told_budget() -> None:
    changes = {"trials": 2, "search": "grid", "space": {"learning_rate": (1e-5,)}, "detector": "faster-rcnn"}
    notes = run(Detection(**{**QUICK, **changes}), rectangles(16, 8))[1]
    assert [trial["choice"] for trial in notes["trials"].value] == [{}, {"learning_rate": 1e-5}]
    assert notes["trial_epochs"].value == 4
    assert notes["images_trained"].value == 16


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"detector": "cascade-mask-rcn"}, "did you mean 'cascade-mask-rcnn'"),
        ({"space": {"flip": (0.1,)}}, "unknown setting in space 'flip'"),
        ({"by_pyramid": {"one-stride": {"shrot_side": 512}}}, "did you mean 'short_side'"),
        ({"by_pyramid": {"vit": {}}}, "'one-stride'"),
        ({"milestones": (27, 60)}, "come before the end, epoch 36"),
        ({"preset": "heavy"}, "there is no preset 'heavy'; there are: fair, light, bob2023"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Detection(**settings)


@pytest.mark.slow
@pytest.mark.parametrize("name", [CNN, VIT])
def test_rectangles_are_learnt_above_the_frozen_random_trunk(name: str) -> None:
    longer = {**QUICK, "epochs": 20, "milestones": (16,), "learning_rate": 2e-3, "short_sides": (96,)}
    data = rectangles(48, 16)
    learnt, frozen = (
        run(Detection(**longer, train=train), data, backbone(name))[0] for train in ("end-to-end", "frozen")
    )
    assert learnt["ap50"].value > 0.5
    assert learnt["mask_ap50"].value > 0.5
    assert learnt["ap50"].value > frozen["ap50"].value
