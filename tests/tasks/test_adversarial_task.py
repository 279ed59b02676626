"""Accuracy under attack from images to scores: budgets in pixels through the declared normalisation, masked gradients
told of, and who is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from backbones.base import Backbone
from backbones.features import Extractor, ExtractSettings
from backbones.training.execution import Execution
from tasks.base import Task, Tools
from tasks.classification.finetune import FineTune
from tasks.classification.linear import LinearProbe, train_probe
from tasks.datasets.base import Dataset, Split
from tasks.datasets.lossless_png import encode_png
from tasks.ood.adversarial import BUDGETS, Adversarial, radius_of, stratified
from tasks.ood.attacks.threat import Threat
from tests.feature_fakes import MEAN, STD, Fake, MemoryImages
from tests.semi_supervised_fakes import tiny_transformer
from tests.tasks.conftest import Answers
from tests.tasks.test_attacks import Shatter, steepest_change

SIDE = 8
QUICK: dict[str, Any] = {"steps": 20, "queries": 30, "strengths": 3}


class Headed(Fake):
    """Three fixed pictures are its classes; ``mask`` is done to its logits."""

    classes = ("a", "b", "c", "d")

    def __init__(self, mask: Callable[[Tensor], Tensor] = lambda logits: logits) -> None:
        super().__init__(side=SIDE)
        pictures = torch.from_numpy(prototypes()).flatten(1).float() - 0.5
        self.pictures, self.mask = torch.cat([pictures, torch.zeros_like(pictures[:1])]), mask

    def classify(self, images: Tensor) -> Tensor:
        pixels = images * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
        return self.mask((pixels.flatten(1) - 0.5) @ self.pictures.T)


def prototypes() -> np.ndarray:
    return np.random.default_rng(5).random((3, 3, SIDE, SIDE))


def dataset(test: int = 60) -> Dataset:
    splits = {}
    for seed, (name, count) in enumerate({"train": 90, "val": 30, "test": test}.items()):
        generator, labels = np.random.default_rng(seed), np.arange(count) % 3
        drawn = 0.8 * generator.random((count, 3, SIDE, SIDE)) + 0.2 * prototypes()[labels]
        pixels = (drawn * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
        images = MemoryImages([encode_png(each) for each in pixels])
        splits[name] = Split(images, labels.astype(np.int64), tuple(images.names))
    return Dataset("pictures", ("a", "b", "c"), splits, "manifest", "none", "tests", 120 + test, 120 + test)


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    extract = Extractor(ExtractSettings(tmp_path, device="cpu", workers=1))
    return Tools(extract, Execution(device="cpu"))


def run(task: Task, backbone: Backbone, data: Dataset, tools: Tools, seed: int = 0) -> Answers:
    return Answers(list(task.run(backbone, {"dataset": [data]}, tools, seed)))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_probe_of_pixels_falls_where_it_exactly_must(norm: Any, tools: Tools) -> None:
    """The probe and the normalisation are one linear function of pixels, so its robust accuracy is known."""
    budgets = ("2/255", "6/255", "12/255") if norm == "linf" else ("0.1", "0.3", "0.6")
    task, data, backbone = Adversarial(norm=norm, budgets=budgets, **QUICK), dataset(), Fake(side=SIDE)
    answers = run(task, backbone, data, tools)
    assert answers.value("accuracy", "clean") == run(LinearProbe(strengths=3), backbone, data, tools)["top1"]
    probe, _ = train_probe(task, backbone, data, tools.extract, 0)
    spread, middle = (np.repeat(each, SIDE * SIDE) for each in (STD, MEAN))
    weights = probe.solution.weights[0].numpy() * probe.scaling.factor / spread
    bias = probe.solution.intercepts[0].numpy() - weights @ (middle + probe.scaling.mean * spread)
    images = np.stack([pixels(data, row) for row in range(60)])
    for budget in budgets:
        worst = {}
        for radius in (0.98 * radius_of(budget), radius_of(budget)):
            worst[radius] = lowest_margins(weights, bias, images, np.arange(60) % 3, Threat(norm, radius))
        survivors = [float(np.mean(each > 0)) for each in worst.values()]
        robust = answers.value("robust_accuracy", f"{norm}-{budget}")
        assert survivors[1] - 1e-9 <= robust <= survivors[0] + 1e-9
    assert 0.1 < answers["mean_robust_accuracy"] < answers.value("accuracy", "clean")
    assert "gradient_masking" not in answers.notes


def pixels(data: Dataset, row: int) -> np.ndarray:
    from backbones.images import decode

    return decode(data.splits["test"].images.read(row)).numpy().reshape(-1) / 255


def lowest_margins(
    weights: np.ndarray, bias: np.ndarray, images: np.ndarray, labels: np.ndarray, threat: Threat
) -> np.ndarray:
    found = []
    for turn in (1, 2):
        others = (labels + turn) % 3
        apart = weights[labels] - weights[others]
        margins = (apart * images).sum(1) + bias[labels] - bias[others]
        found.append(margins + (apart * steepest_change(apart, images, threat)).sum(1))
    return np.min(found, axis=0)


def test_robust_accuracy_only_falls_and_the_items_say_to_what(tools: Tools) -> None:
    task = Adversarial(budgets=("1/255", "4/255", "16/255", "0.5"), **QUICK)
    answers = run(task, Fake(side=SIDE), dataset(), tools)
    curve = [answers.value("accuracy", "clean")]
    curve += [answers.value("robust_accuracy", f"linf-{each}") for each in task.budgets]
    assert curve == sorted(curve, reverse=True)
    assert curve[-1] == 0
    assert answers["mean_robust_accuracy"] == pytest.approx(np.mean(curve[1:]))
    items = answers.outputs["test"]
    for place, budget in enumerate(task.budgets):
        fallen = np.isin(items["broken_at"], ["clean", *(f"linf-{each}" for each in task.budgets[: place + 1])])
        assert (answers.outputs[f"linf-{budget}"]["correct"] == ~fallen).all()
    right = items["prediction"] == items["label"]
    assert ((items["broken_at"] == "clean") == ~right).all()
    assert all(by in task.attacks for by in items["broken_by"][right])
    assert sum(answers.notes["fallen"].value.values()) == right.sum()


def test_the_images_are_the_same_for_every_seed_and_the_batch_changes_nothing(tools: Tools) -> None:
    task, data, backbone = Adversarial(images=21, budgets=("6/255",), **QUICK), dataset(), Fake(side=SIDE)
    answers = [run(task, backbone, data, tools, seed) for seed in (0, 1)]
    small = run(task, backbone, data, replace(tools, execution=Execution(device="cpu", device_batch=4)))
    names = [list(each.outputs["test"]["item"]) for each in answers]
    assert names[0] == names[1]
    assert len(set(names[0])) == 21
    assert np.bincount(answers[0].outputs["test"]["label"]).tolist() == [7, 7, 7]
    assert (small.outputs["test"]["broken_at"] == answers[0].outputs["test"]["broken_at"]).all()
    assert task.uses_seed({"dataset": [data]})


def test_the_own_head_competes_with_the_classes_of_the_dataset(tools: Tools) -> None:
    """It has one more, whose logit of zero is not asked."""
    data = replace(dataset(), classes=("a", "c", "zebra"))
    answers = run(Adversarial(classifier="own", **QUICK), Headed(), data, tools)
    assert answers.notes["left_out"].warning
    assert answers.notes["classes_competing"].value == 2
    assert set(answers.outputs["test"]["label"]) == {0, 1}
    assert len(answers.outputs["test"]["item"]) == 40


def test_a_masked_head_is_told_of_and_the_same_head_unmasked_is_not(tools: Tools) -> None:
    task, data = Adversarial(classifier="own", budgets=("1/255", "8/255"), **QUICK), dataset()
    assert "gradient_masking" not in run(task, Headed(), data, tools).notes
    for mask in (lambda logits: 1e4 * logits, Shatter.apply):
        note = run(task, Headed(mask), data, tools).notes["gradient_masking"]
        assert note.warning
        assert "not to be believed" in note.value


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda images: (images * 8).round().flatten(1), "zero everywhere"),
        (lambda images: images.detach().flatten(1), "has no gradient"),
        (lambda images: torch.sqrt(images.flatten(1) * 0) + images.flatten(1), "NaN or infinite"),
    ],
)
def test_a_backbone_without_a_gradient_is_refused_in_words(function: Any, words: str, tools: Tools) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        run(Adversarial(**QUICK), Fake(function, side=SIDE), dataset(), tools)
    assert "fake" in str(refused.value)
    assert not tools.extract.used  # type: ignore[attr-defined]


def test_refusals(world) -> None:
    task, data = Adversarial(), dataset()
    padded = Fake(side=SIDE)
    padded.preprocess = replace(padded.preprocess, crop="pad")
    assert "padding" in (task.refusal(padded, {"dataset": [data]}) or "")
    assert "no readout" in (Adversarial(readout="layer9").refusal(Fake(), {"dataset": [data]}) or "")
    own = Adversarial(classifier="own")
    assert "no classifier head" in (own.refusal(Fake(), {"dataset": [data]}) or "")
    foreign = replace(data, classes=("x", "y", "z"))
    assert "fewer than two classes" in (own.refusal(Headed(), {"dataset": [foreign]}) or "")
    only = replace(data, splits={"train": data.splits["train"], "other": data.splits["val"]})
    assert "has splits train, other" in (task.refusal(Fake(), {"dataset": [only]}) or "")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"budgets": ["4/255", "1/255"]}, "budgets must rise"),
        ({"budgets": ["4/255", "4/255"]}, "budgets must rise"),
        ({"budgets": ["4"]}, "four grey levels"),
        ({"budgets": ["0"]}, "number above zero"),
        ({"budgets": ["4/0"]}, "number above zero"),
        ({"budgets": ["inf"]}, "number above zero"),
        ({"budgets": ["1/255/2"]}, "number above zero"),
        ({"attacks": []}, "at least 1"),
        ({"attacks": ["pgd", "pgd"]}, "named twice"),
        ({"attacks": ["fgsm"]}, "apgd-targeted"),
        ({"norm": "l1"}, "linf"),
        ({"classifier": "own", "readout": "layer3"}, "leave readout out"),
        ({"finetune": {"epochs": 3}}, "which this is not"),
        ({"classifier": "finetune", "finetune": {"epohcs": 3}}, "epohcs"),
        ({"steps": 0}, "greater than or equal to 1"),
    ],
)
def test_bad_settings_are_told(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Adversarial(**settings)


def test_budgets_are_text_or_numbers() -> None:
    task = Adversarial(norm="l2", budgets=[0.5, "1", 3])  # type: ignore[arg-type,list-item]
    assert list(task.threats()) == ["l2-0.5", "l2-1", "l2-3"]
    assert [each.radius for each in task.threats().values()] == [0.5, 1.0, 3.0]
    assert list(Adversarial().threats()) == [f"linf-{each}" for each in BUDGETS["linf"]]


def test_a_stratified_draw_keeps_every_class_in_proportion() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [60, 30, 10]))
    for count in (10, 20, 50):
        rows = stratified(labels, count, 0)
        assert np.bincount(labels[rows]).tolist() == [0.6 * count, 0.3 * count, 0.1 * count]
        assert len(set(rows)) == count
    assert stratified(labels, 1000, 0).tolist() == list(range(100))
    assert stratified(labels, 10, 0).tolist() != stratified(labels, 10, 1).tolist()


def test_a_fine_tuned_network_is_attacked_and_the_backbone_stays_as_it_was(tools: Tools) -> None:
    backbone = tiny_transformer()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    recipe = {"epochs": 2, "global_batch": 16, "trials": 1, "space": {}, "head": "zeros", "warmup_epochs": 0.5}
    task = Adversarial(classifier="finetune", finetune=recipe, budgets=("2/255", "0.5"), images=12, **QUICK)
    assert task.finetune["learning_rate"] == FineTune().learning_rate  # every default is part of the key
    here = replace(tools, execution=Execution(device="cpu", workers=0))
    answers = run(task, backbone, dataset(), here)
    alone = run(FineTune(**recipe), backbone, dataset(), here)
    items = dict(zip(alone.outputs["test"]["item"], alone.outputs["test"]["prediction"], strict=True))
    attacked = answers.outputs["test"]
    assert [items[name] for name in attacked["item"]] == attacked["prediction"].tolist()
    assert answers.value("robust_accuracy", "linf-0.5") <= answers.value("accuracy", "clean")
    assert answers.notes["steps"].value == alone.notes["steps"].value
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())
    assert "fine-tune" in (task.refusal(Fake(), {"dataset": [dataset()]}) or "")
