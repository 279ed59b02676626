"""The checkpoint's own head: names matched, classes masked, and whom the question cannot be put to."""

import numpy as np
import pytest

from tasks.classification.head import OwnHead

HEAD = ("cat", "dog", "fish", "bird", "cow", "ant")


def test_logits_are_matched_by_class_name_with_and_without_mask(world) -> None:
    logits = np.array([[0, 1, 5, 2, 0, 0], [3, 0, 0, 0, 4, 0], [0, 9, 0, 1, 0, 0]], np.float32)
    dataset = world.dataset("d", ("bird", "cat", "dog"), {"test": (logits, np.array([0, 1, 2]))})
    backbone = world.headed(HEAD)
    whole = world.run(OwnHead(), backbone=backbone, dataset=dataset)
    assert whole["top1"] == pytest.approx(1 / 3)
    assert whole.outputs["test"]["label"].tolist() == [3, 0, 1]
    masked = world.run(OwnHead(mask=True), backbone=backbone, dataset=dataset)
    assert masked["top1"] == 1
    assert masked.notes["classes_competing"].value == 3
    assert ("top5", "test") in whole.scores
    assert ("top5", "test") not in masked.scores


@pytest.mark.parametrize("mask", [False, True])
def test_images_of_unknown_classes_are_left_out_and_counted(world, mask: bool) -> None:
    dataset = world.dataset("d", ("bird", "unicorn"), {"all": (np.eye(6, dtype=np.float32)[[3, 2]], np.array([0, 1]))})
    answers = world.run(OwnHead(mask=mask), backbone=world.headed(HEAD), dataset=dataset)
    assert answers["top1"] == 1
    assert answers.notes["classes_without_output"].warning
    assert len(answers.outputs["test"]["item"]) == 1


def test_refusals_say_why(world) -> None:
    dataset = world.dataset("d", ("Cat",), {"all": (np.eye(6, dtype=np.float32)[:1], np.array([0]))})
    assert "no classifier head" in (OwnHead().refusal(world.nobody, {"dataset": [dataset]}) or "")
    assert "'Cat'" in (OwnHead().refusal(world.headed(HEAD), {"dataset": [dataset]}) or "")


@pytest.mark.parametrize("mask", [False, True])
def test_a_class_that_is_any_of_several_is_right_where_the_best_output_is_one_of_them(world, mask: bool) -> None:
    classes = ("cat|dog", "bird|cow|unicorn", "fish")
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(200, 6)).astype(np.float32), generator.integers(0, 3, 200)
    answers = world.run(
        OwnHead(mask=mask),
        backbone=world.headed(HEAD),
        dataset=world.dataset("d", classes, {"test": (logits, labels)}),
    )
    right = []
    for row, label in zip(logits, labels, strict=True):
        competing = [name for name in HEAD if name != "ant"] if mask else list(HEAD)
        best = max(competing, key=lambda name: row[HEAD.index(name)])
        right.append(best in classes[label].split("|"))
    assert answers["top1"] == pytest.approx(np.mean(right))
    assert answers.notes["classes_competing"].value == (3 if mask else 4)


@pytest.mark.parametrize("name", ["imagenet-a", "imagenet-r", "objectnet"])
def test_sets_that_are_defined_with_a_mask_are_asked_with_it(world, name: str) -> None:
    logits = np.array([[0, 1, 5, 2, 0, 0], [3, 0, 0, 0, 4, 0], [0, 9, 0, 1, 0, 0]], np.float32)
    splits = {"test": (logits, np.array([0, 1, 2]))}
    asked = {
        each: world.run(
            OwnHead(), backbone=world.headed(HEAD), dataset=world.dataset(each, ("bird", "cat", "dog"), splits)
        )
        for each in (name, "imagenet-v2")
    }
    assert (asked[name]["top1"], asked["imagenet-v2"]["top1"]) == (1, pytest.approx(1 / 3))
    assert asked[name].notes["classes_competing"].value == 3
