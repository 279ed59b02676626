"""Segmentation of scenes drawn here: learns what the most frequent class does not, and keeps the rules."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from backbones.base import Backbone, Card, Preprocess, freeze
from backbones.catalogue import load
from backbones.images import UnreadableImage
from backbones.places import Places
from backbones.training.outcomes import Diverged
from tasks.datasets.base import Dataset
from tasks.datasets.label_maps import VOID
from tasks.segmentation.segmentation import Segmentation
from tasks.segmentation.segmentation_presets import PRESETS
from tests.segmentation_fakes import answers, scenes, split

QUICK: Mapping[str, Any] = {
    "side": 64,
    "epochs": 6,
    "global_batch": 8,
    "trials": 1,
    "space": {},
    "learning_rate": 1e-2,
    "scale": (0.8, 1.25),
}
SHORT: Mapping[str, Any] = {**QUICK, "epochs": 1}


class Colours(Backbone):
    """Mean colours of cells of 8 pixels, times a learnt one; with ``broken`` a cell of an image that is no number."""

    preprocess = Preprocess((64, 64), 64, "squash", "bilinear", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

    def __init__(self, broken: bool = False, maps: bool = True) -> None:
        super().__init__()
        self.card = Card("colours", "random", "none", 1, "none", "none", "tests", "0", "none", f"{broken}{maps}")
        self.gain, self.broken, self.maps = nn.Parameter(torch.ones(1)), broken, maps

    def embed(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        if not self.maps:
            raise NotImplementedError("colours has no maps")
        cells = nn.functional.avg_pool2d(images, 8, ceil_mode=True) * self.gain
        return {8: cells + torch.nan if self.broken else cells}

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        return [("gain", [self.gain])]


def tiny(name: str = "test_resnet") -> Backbone:
    return freeze(load(f"random:timm:{name}", Places()))


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
@pytest.mark.parametrize("head", ["linear", "upernet"])
def test_learns_shapes_far_above_the_most_frequent_class(name: str, head: str) -> None:
    backbone = tiny(name)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    rate = 1e-2 if head == "linear" else 3e-3
    scores, notes, table = answers(
        Segmentation(**{**QUICK, "head": head, "head_channels": 32, "learning_rate": rate}), backbone, scenes()
    )
    assert scores["miou"].value > notes["most_frequent_class"].value["miou"] + 0.15
    assert scores["miou"].interval is not None
    assert notes["loss_by_epoch"].value[-1] < notes["loss_by_epoch"].value[0]
    assert notes["steps"].value == 6 * (40 // 8)
    assert notes["classes_without_a_pixel"].value == ["never"]
    assert len(table.columns["item"]) == 12
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())


def test_end_to_end_learns_more_than_a_linear_head_over_frozen_noise() -> None:
    frozen, trained = (
        answers(Segmentation(**{**QUICK, "train": train, "learning_rate": rate}), tiny("test_vit"), scenes())[0]
        for train, rate in (("frozen", 1e-2), ("end-to-end", 3e-3))
    )
    assert trained["miou"].value > frozen["miou"].value + 0.05


def test_a_seed_gives_the_same_numbers_and_another_seed_others() -> None:
    task = Segmentation(**{**SHORT, "head": "upernet", "head_channels": 32})
    found = [answers(task, tiny(), scenes(), seed)[0]["miou"].value for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("train", ["frozen", "end-to-end"])
def test_the_device_batch_changes_nothing_but_rounding(train: str) -> None:
    task = Segmentation(**{**SHORT, "head": "upernet", "head_channels": 32, "train": train})
    whole, parted = (answers(task, tiny(), scenes(), device_batch=size)[1]["loss_by_epoch"].value for size in (8, 2))
    assert parted == pytest.approx(whole, abs=1e-4)


def test_workers_and_a_restart_change_nothing(tmp_path: Path) -> None:
    task, data = Segmentation(**{**SHORT, "epochs": 2}), scenes()
    alone = answers(task, tiny(), data)[0]["miou"].value
    assert answers(task, tiny(), data, folder=tmp_path)[0]["miou"].value == alone
    scores, notes, _ = answers(task, tiny(), data, folder=tmp_path)
    assert scores["miou"].value == alone
    assert notes["resumed"].value == [11]
    assert answers(task, tiny(), data, workers=2)[0]["miou"].value == alone


def test_settings_are_chosen_on_val_with_a_told_budget(tmp_path: Path) -> None:
    hopeless_first = {**QUICK, "epochs": 3, "learning_rate": 1e-6, "minimum_learning_rate": 1e-7, "trials": 3}
    task = Segmentation(**{**hopeless_first, "search": "random", "space": {"learning_rate": (1e-2, 1e-5)}})
    _, notes, _ = answers(task, tiny(), scenes(), folder=tmp_path)
    assert notes["chosen"].value == {"learning_rate": 1e-2}
    assert notes["trial_epochs"].value == 9
    assert notes["gain_on_val"].value > 0
    assert "20 %, shuffled" in notes["val_part"].value
    logs = tmp_path / "round-1-trial-1" / "logs"
    assert "val_miou" in (logs / "epochs.csv").read_text().splitlines()[0]


def test_the_test_part_has_no_say_before_the_end() -> None:
    data = scenes()
    turned = [np.full((56, 72), 2, np.uint8)] * 12
    other = scenes(test=split(12, 1, maps=turned))
    task = Segmentation(**{**SHORT, "trials": 2, "space": {"learning_rate": (1e-3,)}})
    (_, notes, _), (scores, others, _) = answers(task, tiny(), data), answers(task, tiny(), other)
    assert notes["trials"] == others["trials"]
    assert notes["loss_by_epoch"] == others["loss_by_epoch"]
    assert "iou:ground" not in scores


def test_images_of_many_sizes_and_a_strip_are_trained_and_tested() -> None:
    generator = np.random.default_rng(0)
    sizes = [(33, 57), (200, 90), (8, 120), (64, 64)]
    parts = [split(2, int(generator.integers(100)), size) for size in sizes]
    data = scenes(8, parts[0])
    for one in parts:
        found = answers(Segmentation(**SHORT), Colours(), replace(data, splits={**data.splits, "test": one}))
        assert found[0]["pixel_accuracy"].value > 0


def test_what_cannot_be_segmented_is_refused_in_words() -> None:
    def why(task: Segmentation, backbone: Backbone, data: Dataset) -> str:
        return str(task.refusal(backbone, {"dataset": [data]}))

    quick = Segmentation(**QUICK)
    assert why(quick, Colours(), scenes()) == "None"
    assert "'colours' gives no dense features" in why(quick, Colours(maps=False), scenes())
    end_to_end = Segmentation(**{**QUICK, "train": "end-to-end"})
    assert "no parameters to train" in why(end_to_end, load("pixels", Places()), scenes())
    assert "global_batch is 8, but 6 images" in why(quick, Colours(), scenes(train=6))
    assert why(Segmentation(), Colours(), scenes(train=20)) == "None"
    classes = replace(scenes(), target="class")
    assert "needs a class for every pixel" in why(quick, Colours(), classes)
    many = replace(scenes(), classes=tuple(map(str, range(256))))
    assert "has 256 classes; pixels are told apart by 2 to 255" in why(quick, Colours(), many)
    with pytest.raises(ValueError, match="gives no dense features"):
        answers(quick, Colours(maps=False), scenes())


def test_a_map_of_another_size_is_named() -> None:
    wrong = [np.zeros((56, 72), np.uint8)] * 11 + [np.zeros((72, 56), np.uint8)]
    with pytest.raises(ValueError, match=r"'11.png' is 72 x 56 pixels, but its map '11-map.png' is 56 x 72"):
        answers(Segmentation(**SHORT), Colours(), scenes(test=split(12, 1, maps=wrong)))


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_class_that_is_none_is_named(part: str) -> None:
    wrong = [np.full((56, 72), 1, np.uint8) for _ in range(12)]
    wrong[3][:] = 7
    data = scenes(**{"train": 12, "test": 12, part: split(12, 2, maps=wrong)})
    with pytest.raises(ValueError, match=r"map of '3.png' has pixels of class 7; there are 4 classes"):
        answers(Segmentation(**SHORT), Colours(), data)


def test_a_map_that_is_no_map_is_named() -> None:
    coloured = [np.zeros((56, 72, 3), np.uint8)] * 12
    with pytest.raises(UnreadableImage, match=r"'\d+-map.png' has RGB pixels"):
        answers(Segmentation(**SHORT), Colours(), scenes(split(12, 0, maps=coloured)))


def test_pixels_of_no_class_everywhere() -> None:
    """Images without a class are trained on beside others; a set without one is said to be nothing to learn from."""
    void = [np.full((56, 72), VOID, np.uint8)] * 12
    some = scenes(split(12, 0, maps=[*void[:11], np.ones((56, 72), np.uint8)]))
    scores, notes, _ = answers(Segmentation(**{**SHORT, "epochs": 3}), Colours(), some)
    assert np.isfinite(notes["loss_by_epoch"].value).all()
    assert np.isfinite(scores["miou"].value)
    with pytest.raises(ValueError, match="no pixel of the crops of train has a class"):
        answers(Segmentation(**SHORT), Colours(), scenes(split(12, 0, maps=void)))
    with pytest.raises(ValueError, match="no pixel of the images that are tested has a class"):
        answers(Segmentation(**SHORT), Colours(), scenes(test=split(12, 1, maps=void)))


def test_features_that_are_no_numbers_stop_it() -> None:
    with pytest.raises(ValueError, match="features at stride 8 are not all finite"):
        answers(Segmentation(**SHORT), Colours(broken=True), scenes())


def test_a_training_that_runs_away_stops() -> None:
    with pytest.raises(Diverged):
        answers(Segmentation(**{**QUICK, "learning_rate": 1e6, "train": "end-to-end"}), tiny(), scenes())


def test_presets_and_settings() -> None:
    for name in PRESETS:
        Segmentation(**{"preset": name})
    upernet = Segmentation(**{"preset": "upernet"})
    assert (upernet.head, upernet.train, upernet.layer_decay, upernet.weight_decay) == (
        "upernet",
        "end-to-end",
        0.75,
        0.05,
    )
    assert upernet.non_defaults() == {"preset": "upernet"}
    assert Segmentation().non_defaults() == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"space": {"learning_rat": (1.0,)}}, "did you mean 'learning_rate'"),
        ({"space": {"learning_rate": (-1.0,)}}, "greater than 0"),
        ({"preset": "bob2024"}, "there is no preset 'bob2024'"),
        ({"scale": (2.0, 0.5)}, "lowest, highest"),
        ({"head": "unet"}, "'linear' or 'upernet'"),
        ({"head_channels": 100}, "multiple of 32"),
        ({"side": 16}, "greater than or equal to 32"),
        ({"warmup_epochs": 99}, "above epochs"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Segmentation(**settings)
