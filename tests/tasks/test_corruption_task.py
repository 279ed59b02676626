"""ood.corruption: its means against sums written out, the official mCE, who may be asked what."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.classification.linear import LinearProbe
from tasks.datasets.corruptions.catalogue import CORRUPTIONS, LEVELS, STANDARD
from tasks.datasets.imagenet import wordnet_ids
from tasks.ood.corruption import Corruption
from tasks.ood.corruption_errors import CLEAN, published_errors

CLASSES = tuple("abcde")
SPLITS = ("fog/1", "fog/3", "snow/2", "spatter/1")


@pytest.fixture
def home(world, blobs):
    return world.dataset("home", CLASSES, {"train": blobs(200, 5, 1), "test": blobs(100, 5, 2)})


@pytest.fixture
def corrupted(world, blobs):
    """The test images, ever noisier from split to split."""
    features, labels = blobs(100, 5, 2)
    noise = np.random.default_rng(0).normal(size=features.shape)
    noisy = {split: ((features + noise * at).astype(np.float32), labels) for at, split in enumerate(SPLITS)}
    dataset = world.dataset("home-c", CLASSES, noisy)
    for split, content in dataset.splits.items():
        object.__setattr__(content.images, "names", tuple(f"{split}/{row}.png" for row in range(100)))
    return dataset


def test_means_are_over_levels_then_over_the_corruptions_that_count(world, home, corrupted) -> None:
    answers = world.run(Corruption(strengths=5), train=home, test=corrupted)
    assert answers.value("top1", CLEAN) == world.run(LinearProbe(strengths=5), dataset=home)["top1"]
    error = {split: 1 - answers.value("top1", split) for split in SPLITS}
    assert answers.value("top1", "fog/1") == answers.value("top1", CLEAN)
    assert error["fog/1"] < error["fog/3"] < error["snow/2"]
    assert answers.value("corruption_error", "fog") == pytest.approx((error["fog/1"] + error["fog/3"]) / 2)
    fog, snow = (answers.value("corruption_error", name) for name in ("fog", "snow"))
    assert answers["mean_corruption_error"] == pytest.approx((fog + snow) / 2)
    assert answers["extra_corruption_error"] == pytest.approx(error["spatter/1"])
    assert ("mCE", "test") not in answers.scores
    for split in (CLEAN, *SPLITS):
        assert {"item", "label", "confidence", "correct"} <= set(answers.outputs[split])


def test_items_are_images_whatever_number_of_corruptions_they_went_through(world, home, corrupted) -> None:
    answers = world.run(Corruption(strengths=3), train=home, test=corrupted)
    score = answers.scores["mean_corruption_error", "test"]
    assert answers.outputs["test"]["item"].tolist() == [f"{row}.png" for row in range(100)]
    wrong = {split: 1 - answers.outputs[split]["correct"] for split in SPLITS}
    by_hand = ((wrong["fog/1"] + wrong["fog/3"]) / 2 + wrong["snow/2"]) / 2
    np.testing.assert_allclose(score.per_sample, by_hand)


def test_errors_over_a_reference_of_ones_own(world, home, corrupted) -> None:
    reference = {"clean": 0.1, "fog": 0.4, "snow": 0.7, "brightness": 0.2}
    answers = world.run(Corruption(strengths=3, reference_errors=reference), train=home, test=corrupted)
    fog, snow = (answers.value("corruption_error", name) for name in ("fog", "snow"))
    clean = 1 - answers.value("top1", CLEAN)
    assert answers["mCE"] == pytest.approx((fog / 0.4 + snow / 0.7) / 2)
    assert answers["relative_mCE"] == pytest.approx(((fog - clean) / 0.3 + (snow - clean) / 0.6) / 2)
    without = {name: error for name, error in reference.items() if name != "clean"}
    answers = world.run(Corruption(strengths=3, reference_errors=without), train=home, test=corrupted)
    assert ("relative_mCE", "test") not in answers.scores


def test_alexnet_itself_has_an_mce_of_one() -> None:
    """Whose numbers are as the paper's table rounds them."""
    errors = published_errors("alexnet")
    assert set(errors) == {CLEAN, *STANDARD}
    table = [88.6, 89.4, 92.3, 82.0, 82.6, 78.6, 79.8, 86.7, 82.7, 81.9, 56.5, 85.3, 64.6, 71.8, 60.7]
    assert [round(100 * errors[name], 1) for name in STANDARD] == pytest.approx(table, abs=0.06)


@pytest.fixture
def imagenet(world):
    """A head that is right on one of two images of every split, and both sets with all of ImageNet's classes."""
    classes = wordnet_ids()
    logits = np.zeros((2, 1000), np.float32)
    logits[:, 7] = 1
    labels = np.array([7, 8])
    clean = world.dataset("imagenet", classes, {"val": (np.eye(1000, dtype=np.float32)[[7, 8]], labels)})
    splits = {f"{name}/{level}": (logits, labels) for name in CORRUPTIONS for level in LEVELS}
    return clean, world.dataset("imagenet-c", classes, splits), world.headed(classes)


def test_the_official_mce_of_a_checkpoints_own_head(world, imagenet) -> None:
    clean, test, backbone = imagenet
    task = Corruption(classifier="own", reference="alexnet")
    answers = world.run(task, backbone=backbone, train=clean, test=test)
    errors = published_errors("alexnet")
    assert answers.value("top1", CLEAN) == 1
    assert [answers[name] for name in ("mean_corruption_error", "extra_corruption_error")] == pytest.approx([0.5, 0.5])
    assert answers["mCE"] == pytest.approx(np.mean([0.5 / errors[name] for name in STANDARD]))
    assert answers["relative_mCE"] == pytest.approx(np.mean([0.5 / (errors[name] - 0.435) for name in STANDARD]))
    assert not task.uses_seed({"train": [clean], "test": [test]})


def test_only_shared_classes_compete_and_the_rest_is_counted(world, home, corrupted, blobs) -> None:
    features, labels = blobs(100, 5, 2)
    test = world.dataset("some", ("c", "zebra", "a"), {"fog/1": (features, np.array([2, -1, 0, 1, 1])[labels] % 3)})
    answers = world.run(Corruption(strengths=3), train=home, test=test)
    assert answers.notes["classes"].value == ["a", "c"]
    assert answers.notes["left_out:fog/1"].warning
    assert len(answers.outputs[CLEAN]["item"]) == 40
    assert set(answers.outputs["fog/1"]["label"]) == {0, 1}


def test_what_was_learnt_from_is_told(world, home, corrupted) -> None:
    hashes = home.splits["train"].sha256[:100]
    leaked = replace(
        corrupted, splits={name: replace(split, sha256=hashes) for name, split in corrupted.splits.items()}
    )
    answers = world.run(Corruption(strengths=3), train=home, test=leaked)
    assert answers.notes["leak"].warning
    assert answers.notes["leak"].value == "100 of 100 images that are corrupted are also learnt from"
    assert "leak" not in world.run(Corruption(strengths=3), train=home, test=corrupted).notes


def test_refusals_say_what_to_do(world, home, corrupted, imagenet, blobs) -> None:
    def why(task: Corruption, test=corrupted, train=home, backbone=world.nobody) -> str:
        return task.refusal(backbone, {"train": [train], "test": [test]}) or ""

    assert why(Corruption()) == ""
    assert "has splits train, test, not a corruption and level each" in why(Corruption(), home)
    assert "write corrupted:home" in why(Corruption(), home)
    extra = world.dataset("extra", CLASSES, {"spatter/1": blobs(20, 5, 2)})
    assert "has none of the corruptions that count" in why(Corruption(), extra)
    foreign = world.dataset("foreign", ("x", "a"), {"fog/1": blobs(20, 2, 2)})
    assert "shares fewer than two classes with 'home'" in why(Corruption(), foreign)
    absent = world.dataset("absent", ("x", "a", "b"), {"fog/1": (blobs(20, 1, 2)[0], np.zeros(20))})
    assert "fog/1 has no image of a class of 'home'" in why(Corruption(), absent)
    assert "no classifier head of its own" in why(Corruption(classifier="own"))
    assert "reference: alexnet is for ImageNet's 1,000 classes" in why(Corruption(reference="alexnet"))
    assert "reference_errors lack snow, which 'home-c' has" in why(Corruption(reference_errors={"fog": 0.5}))
    clean, test, backbone = imagenet
    part = replace(test, splits={name: split for name, split in test.splits.items() if name != "snow/5"})
    told = why(Corruption(classifier="own", reference="alexnet"), part, clean, backbone)
    assert "takes all 15 corruptions at 5 levels; 'imagenet-c' lacks snow/5" in told
    empty = replace(corrupted, splits={"fog/1": replace(home.splits["train"], labels=np.zeros(0, np.int64))})
    assert "fog/1 hold no images" in why(Corruption(), empty)
    with pytest.raises(ValueError, match="not a corruption and level each"):
        world.run(Corruption(), train=home, test=home)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"reference": "alexnet", "reference_errors": {"fog": 0.5}},
            "give either reference: alexnet or reference_errors",
        ),
        ({"reference_errors": {"fogg": 0.5}}, "unknown corruption in reference_errors: 'fogg'; did you mean 'fog'"),
        ({"reference_errors": {"fog": 0.0}}, "fog is 0.0; an error is above 0 and at most 1"),
        ({"reference_errors": {"fog": 50.0}}, "fog is 50.0; an error is above 0"),
        ({"reference_errors": {"fog": 0.2, "clean": 0.3}}, r"fog is not above clean \(0.3\)"),
        ({"reference": "resnet"}, "alexnet"),
        ({"classifier": "head"}, "own"),
    ],
)
def test_bad_settings_are_told(settings, message) -> None:
    with pytest.raises(ValidationError, match=message):
        Corruption(**settings)
