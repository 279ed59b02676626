"""ImageNet's shifted sets as they are on disk, put to a head of their own and to a probe: masked, matched, coarse."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from backbones.places import Places
from tasks.catalogue import open_dataset
from tasks.classification.head import OwnHead
from tasks.datasets.base import OpenOptions
from tasks.datasets.imagenet import wordnet_ids
from tasks.ood.shift import Shift

NUMBERS = (2, 10, 423, 559, 954)
"""ImageNet's classes of this test, as numbers: two fish and birds, two chairs, a banana."""
HEAD = tuple(wordnet_ids()[number] for number in NUMBERS)


def image(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.getvalue())


@pytest.fixture
def sets(tmp_path):
    """ImageNet-V2 of two classes, ImageNet-R of three, ObjectNet of a chair (either of two) and a banana; by class."""
    for row in range(12):
        for number in (2, 10):
            image(tmp_path / "imagenetv2-matched-frequency-format-val" / str(number) / f"{row}.png", row + number)
        for number in (2, 10, 954):
            image(tmp_path / "imagenet-r" / wordnet_ids()[number] / f"{row}.png", row + 100 * number)
        for folder in ("chair", "banana"):
            image(tmp_path / "objectnet-1.0" / "images" / folder / f"{row}.png", row + 7000 * len(folder))
    mappings = tmp_path / "objectnet-1.0" / "mappings"
    mappings.mkdir()
    names = {423: "barber chair", 559: "folding chair", 954: "banana"}
    contents = {
        "folder_to_objectnet_label.json": {"chair": "Chair", "banana": "Banana"},
        "objectnet_to_imagenet_1k.json": {"Chair": "barber chair; folding chair", "Banana": "banana"},
        "pytorch_to_imagenet_2012_id.json": {str(number): number for number in range(1000)},
    }
    for name, content in contents.items():
        (mappings / name).write_text(json.dumps(content))
    lines = [names.get(number, f"class {number}") for number in range(1000)]
    (mappings / "imagenet_to_label_2012_v2").write_text("\n".join(lines))
    options = OpenOptions(Places((tmp_path,)), tmp_path / "cache")
    return {name: open_dataset(name, options) for name in ("imagenet-v2", "imagenet-r", "objectnet")}


def given(world, dataset, seed):
    """Scores of the five classes for each image, handed out as its logits or features; what is right by name."""
    (split,) = dataset.splits.values()
    scores = np.random.default_rng(seed).normal(size=(len(split), len(HEAD))).astype(np.float32)
    world.features[split.images.identity] = scores
    return scores, [dataset.classes[label].split("|") for label in split.labels]


def right(scores, names, competing) -> float:
    best = [max(competing, key=lambda name: row[HEAD.index(name)]) for row in scores]
    return float(np.mean([one in each for one, each in zip(best, names, strict=True)]))


def test_a_head_is_asked_among_the_classes_each_set_is_defined_by(world, sets) -> None:
    competing = {
        "imagenet-v2": HEAD,
        "imagenet-r": [wordnet_ids()[number] for number in (2, 10, 954)],
        "objectnet": [wordnet_ids()[number] for number in (423, 559, 954)],
    }
    for seed, (name, dataset) in enumerate(sets.items()):
        scores, names = given(world, dataset, seed)
        answers = world.run(OwnHead(), backbone=world.headed(HEAD), dataset=dataset)
        assert answers["top1"] == pytest.approx(right(scores, names, competing[name]))
        assert right(scores, names, competing[name]) not in (0, 1)
    masked = right(*given(world, sets["imagenet-r"], 1), competing["imagenet-r"])
    assert masked != right(*given(world, sets["imagenet-r"], 1), HEAD), "without the mask it is another number"


def test_a_probe_of_imagenet_is_asked_among_them_too(world, sets, blobs) -> None:
    features = {name: blobs(100, 5, seed, dim=5) for name, seed in (("train", 1), ("test", 2))}
    home = world.dataset("imagenet-1k", HEAD, features)
    for seed, dataset in enumerate(sets.values()):
        given(world, dataset, seed)
    answers = world.run(Shift(strengths=3), train=home, test=list(sets.values()))
    assert answers.notes["classes:imagenet-r"].value == [wordnet_ids()[number] for number in (2, 10, 954)]
    assert answers.notes["classes:objectnet"].value == ["|".join(HEAD[2:4]), HEAD[4]]
    assert len(answers.outputs["objectnet"]["item"]) == 24
    kept = np.isin(features["test"][1], (2, 3, 4))
    assert len(answers.scores["id_top1", "objectnet"].per_sample) == kept.sum(), "home is asked of the same classes"


def test_a_set_of_classes_nobody_learnt_is_refused(world, sets, blobs) -> None:
    home = world.dataset("fish", HEAD[:2], {"train": blobs(30, 2, 1), "test": blobs(30, 2, 2)})
    why = Shift().refusal(world.nobody, {"train": [home], "test": [sets["objectnet"]]}) or ""
    assert "'objectnet' shares fewer than two classes with 'fish'" in why
    foreign = replace(sets["objectnet"], classes=("a", "b"))
    assert "names must match exactly" in (OwnHead().refusal(world.headed(HEAD), {"dataset": [foreign]}) or "")
