"""Fine-tuning on images drawn here: learns what a frozen probe of the same backbone cannot, and keeps the rules."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from backbones.base import Backbone, freeze
from backbones.catalogue import load
from backbones.features import Extractor, ExtractSettings
from backbones.places import Places
from backbones.training.curves import CURVES
from backbones.training.execution import LOGS, Execution
from tasks.base import Data, Note, Outputs, Score, Tools
from tasks.classification.finetune import FineTune, FineTuneLabels, FineTuneOrder, FineTuneValue, FineTuning
from tasks.classification.finetune_presets import PRESETS
from tasks.classification.head_start import ProbeHead
from tasks.classification.metrics import negative_log_likelihood
from tasks.classification.objectives import OneClass
from tasks.classification.probe import fit
from tasks.classification.tuned_network import TunedNetwork
from tasks.datasets.base import Dataset, Split, Target
from tasks.datasets.joined import join
from tasks.datasets.lossless_png import encode_png
from tasks.datasets.partition import partition
from tasks.features import features_of
from tests.semi_supervised_fakes import tiny_transformer

QUICK: Mapping[str, Any] = {
    "epochs": 16,
    "global_batch": 16,
    "trials": 1,
    "space": {},
    "learning_rate": 5e-3,
    "warmup_epochs": 0.5,
    "layer_decay": 1.0,
    "crop_scale": (0.9, 1.0),
    "flip": 0.0,
    "head": "zeros",
}


class Pngs:
    def __init__(self, pixels: np.ndarray) -> None:
        self.data = [encode_png(each) for each in pixels]
        self.names = [f"{row}.png" for row in range(len(pixels))]
        self.identity = hashlib.sha256(b"".join(self.data)).hexdigest()

    def __len__(self) -> int:
        return len(self.data)

    def read(self, index: int) -> bytes:
        return self.data[index]


def stripes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Stripes across (0), down (1), or both (2): mean colours say nothing of the class."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    wave = 100 * np.sign(np.sin(np.arange(32) * 1.6))
    across, down = np.broadcast_to(wave[:, None], (32, 32)), np.broadcast_to(wave[None], (32, 32))
    drawn = np.stack([across, down, np.maximum(across, down)])[labels][..., None]
    noisy = 128 + drawn * generator.choice([-1, 1], (count, 1, 1, 1)) + generator.normal(0, 25, (count, 32, 32, 3))
    return noisy.clip(0, 255).astype(np.uint8), labels.astype(np.int64)


def dataset(target: Target = "class", train: int = 96, test: int = 48) -> Dataset:
    splits = {}
    for name, count, seed in (("train", train, 0), ("test", test, 1)):
        pixels, labels = stripes(count, seed)
        images = Pngs(pixels)
        rows = {
            "multilabel": np.stack([labels != 1, labels != 0], 1).astype(np.float32),
            "value": (10.0 + 5 * labels[:, None]).astype(np.float32),
        }.get(target)
        if target == "multilabel" and rows is not None:
            rows[::7, 1] = np.nan
        splits[name] = Split(images, labels if rows is None else np.full(count, -1), tuple(images.names), rows)
    classes = {"multilabel": ("across", "down"), "value": ("height",)}.get(target, ("across", "down", "both"))
    total = train + test
    return Dataset("stripes", classes, splits, f"manifest {target}", "none", "tests", total, total, target=target)


def run(
    task: FineTuning, backbone: Backbone, data: Dataset, seed: int = 0, folder: Path | None = None, **execution: Any
) -> tuple[dict[str, Score], dict[str, Note], Outputs]:
    def extract(*_: Any) -> Any:
        raise AssertionError("fine-tuning uses no frozen features")

    tools = Tools(extract, Execution(device="cpu", workers=0, folder=folder, **execution))
    answers = list(task.run(backbone, {"dataset": [data]}, tools, seed))
    scores = {one.metric: one for one in answers if isinstance(one, Score)}
    (table,) = (one for one in answers if isinstance(one, Outputs))
    return scores, {one.name: one for one in answers if isinstance(one, Note)}, table


@pytest.fixture
def tiny() -> Backbone:
    return tiny_transformer(width=64)


def test_learns_stripes_far_above_the_largest_class_on_every_seed(tiny: Backbone) -> None:
    before = {name: value.clone() for name, value in tiny.state_dict().items()}
    data = dataset()
    largest = np.bincount(data.splits["test"].labels).max() / len(data.splits["test"])
    for seed in range(3):
        scores, notes, table = run(FineTune(**QUICK), tiny, data, seed)
        assert scores["top1"].value > largest + 0.4
        assert notes["loss_by_epoch"].value[-1] < notes["loss_by_epoch"].value[0]
        assert notes["steps"].value == 16 * (96 // 16)
        assert len(table.columns["item"]) == 48
    assert all(torch.equal(before[name], value) for name, value in tiny.state_dict().items())
    assert not any(parameter.requires_grad for parameter in tiny.parameters())


def test_a_seed_gives_the_same_numbers_and_another_seed_others(tiny: Backbone) -> None:
    task, data = FineTune(**{**QUICK, "epochs": 1}), dataset()
    nll = [run(task, tiny, data, seed)[0]["nll"].value for seed in (0, 0, 1)]
    assert nll[0] == nll[1] != nll[2]


def test_the_device_batch_changes_nothing_but_rounding(tiny: Backbone) -> None:
    task, data = FineTune(**{**QUICK, "epochs": 1, "mixup": 0.4, "cutmix": 1.0}), dataset()
    whole = run(task, tiny, data)[0]["nll"].value
    assert run(task, tiny, data, device_batch=4)[0]["nll"].value == pytest.approx(whole, abs=1e-4)


def test_activations_computed_again_change_nothing(tiny: Backbone) -> None:
    task, data = FineTune(**{**QUICK, "epochs": 1, "drop_path": 0.2}), dataset()
    kept = run(task, tiny, data)[0]["nll"].value
    assert run(task, tiny, data, gradient_checkpointing=True)[0]["nll"].value == pytest.approx(kept, abs=1e-6)


def test_activations_are_computed_again(tiny: Backbone) -> None:
    network, seen = TunedNetwork(tiny, OneClass(3), 0.0, "frozen").train(), []
    network.network.trunk.backbone.model.blocks[0].register_forward_pre_hook(lambda *_: seen.append(1))
    for again in (1, 2):
        network.network(torch.randn(2, 3, 32, 32)).sum().backward()
        assert len(seen) == again
        network.recompute()
        seen.clear()


def test_activations_that_may_not_be_computed_again_are_refused(tiny: Backbone) -> None:
    task, data = FineTune(**{**QUICK, "epochs": 1}), dataset()
    moving = FineTune(**{**QUICK, "epochs": 1, "batch_norm": "batch"})
    with pytest.raises(ValueError, match=r"has BatchNorm.*lower device_batch"):
        run(moving, freeze(load("random:timm:test_resnet", Places())), data, gradient_checkpointing=True)
    with pytest.raises(ValueError, match=r"has set_grad_checkpointing\(\).*lower device_batch"):
        run(task, freeze(load("random:torchvision:squeezenet1_1", Places())), data, gradient_checkpointing=True)


def test_frozen_statistics_make_the_device_batch_matter_no_more() -> None:
    """With a network of BatchNorm, where those of each batch make it matter, and with checkpointing on."""
    backbone, data = freeze(load("random:timm:test_resnet", Places())), dataset()
    losses = {}
    for batch_norm in ("frozen", "batch"):
        task = FineTune(**{**QUICK, "epochs": 1, "batch_norm": batch_norm})
        whole, parted = (run(task, backbone, data, device_batch=size)[0]["nll"].value for size in (16, 4))
        losses[batch_norm] = whole
        assert (abs(whole - parted) < 1e-4) == (batch_norm == "frozen")
    again = FineTune(**{**QUICK, "epochs": 1})
    computed_again = run(again, backbone, data, gradient_checkpointing=True)[0]["nll"].value
    assert computed_again == pytest.approx(losses["frozen"], abs=1e-5)


def test_frozen_statistics_stay_and_scale_and_shift_learn() -> None:
    backbone = freeze(load("random:timm:test_resnet", Places()))
    for batch_norm in ("frozen", "batch"):
        network = TunedNetwork(backbone, OneClass(3), 0.0, batch_norm).train()
        norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        before = [norm.running_mean.clone() for norm in norms]
        network.network(torch.randn(4, 3, 64, 64)).square().sum().backward()
        moved = [not torch.equal(norm.running_mean, old) for norm, old in zip(norms, before, strict=True)]
        assert norms
        assert moved == [batch_norm == "batch"] * len(norms)
        assert all(norm.weight.grad is not None for norm in norms)
        assert all(module.training for module in network.modules() if module not in norms)


@pytest.mark.parametrize(
    ("task", "target", "chance"),
    [(FineTuneLabels, "multilabel", 0.5), (FineTuneOrder, "ordinal", 0), (FineTuneValue, "value", 0)],
)
def test_other_kinds_of_target_are_learnt_above_chance(
    task: type[FineTuning], target: Target, chance: float, tiny: Backbone
) -> None:
    scores, _, table = run(task(**QUICK), tiny, dataset(target))
    assert task.headline in scores
    assert scores[task.headline].value > chance + 0.3
    assert len(table.columns["item"]) == 48


@pytest.mark.slow
def test_settings_are_chosen_on_val_with_a_told_budget(tiny: Backbone, tmp_path: Path) -> None:
    hopeless_first = {**QUICK, "learning_rate": 1e-6, "minimum_learning_rate": 1e-7, "trials": 3}
    task = FineTune(**{**hopeless_first, "search": "random", "space": {"learning_rate": (5e-3, 1e-5)}})
    scores, notes, _ = run(task, tiny, dataset(), folder=tmp_path)
    assert notes["chosen"].value == {"learning_rate": 5e-3}
    assert [trial["epochs"] for trial in notes["trials"].value] == [16, 16, 16]
    assert notes["trial_epochs"].value == 48
    assert notes["gain_on_val"].value > 0
    assert scores["top1"].value > 0.6
    logs = tmp_path / "round-1-trial-1" / LOGS
    assert "val_top1" in (logs / "epochs.csv").read_text().splitlines()[0]
    assert (logs / CURVES).stat().st_size > 0
    assert (tmp_path / "final" / LOGS / CURVES).exists()


def test_the_test_part_has_no_say_before_the_end(tiny: Backbone) -> None:
    data = dataset()
    poisoned = Split(data.splits["test"].images, 2 - data.splits["test"].labels, data.splits["test"].sha256)
    other = Dataset(**{**data.__dict__, "splits": {"train": data.splits["train"], "test": poisoned}})
    task = FineTune(**{**QUICK, "epochs": 2, "trials": 2, "space": {"learning_rate": (1e-3,)}})
    (_, notes, table), (_, others, turned) = run(task, tiny, data), run(task, tiny, other)
    assert notes["trials"] == others["trials"]
    assert notes["loss_by_epoch"] == others["loss_by_epoch"]
    np.testing.assert_array_equal(table.columns["prediction"], turned.columns["prediction"])


def test_presets_are_those_of_the_study() -> None:
    study = FineTune(**{"preset": "bob2023"})
    assert (study.epochs, study.global_batch, study.learning_rate, study.layer_decay) == (100, 1024, 1e-3, 0.75)
    assert (study.mixup, study.cutmix, study.erasing, study.label_smoothing) == (0.8, 1.0, 0.25, 0.1)
    assert (study.trials, study.optimiser, study.weight_decay, study.drop_path) == (1, "adamw", 0.05, 0.1)
    assert study.non_defaults() == {"preset": "bob2023"}
    assert FineTune(**{"preset": "bob2023", "epochs": 50}).non_defaults() == {"preset": "bob2023", "epochs": 50}
    assert FineTune().non_defaults() == {}
    for name in PRESETS:
        FineTune(**{"preset": name})


def test_a_head_that_starts_at_the_probe_is_the_probe(tiny: Backbone, tmp_path: Path) -> None:
    extract, data = Extractor(ExtractSettings(tmp_path, device="cpu", workers=1)), dataset()
    parts = partition(data, 0)
    start = ProbeHead(tiny, parts, 3, extract)
    features, test = (features_of(tiny, part, extract) for part in (join(parts.train, parts.val), parts.test))
    labels = np.concatenate([parts.train.labels, parts.val.labels])
    both = np.concatenate([start.train[0], start.val[0]])
    assert len(features) == len(both)
    expected = fit(both, labels, 3, start.strength, start.settings.tolerance).logits(test)
    weight, bias = start.of_both
    np.testing.assert_allclose(test @ weight.numpy().T + bias.numpy(), expected, atol=1e-4)

    rates = {"learning_rate": 1e-9, "minimum_learning_rate": 0, "warmup_learning_rate": 0}
    still = FineTune(**{**QUICK, **rates, "epochs": 1, "head": "probe"})
    answers = still.run(tiny, {"dataset": [data]}, Tools(extract, Execution(device="cpu", workers=0)), 0)
    (tuned,) = (one.value for one in answers if isinstance(one, Score) and one.metric == "nll")
    assert tuned == pytest.approx(float(negative_log_likelihood(expected, parts.test.labels).mean()), rel=1e-3)


def test_what_cannot_be_trained_is_refused_in_words(tiny: Backbone) -> None:
    def why(task: FineTuning, backbone: Backbone, data: Dataset) -> str:
        roles: Data = {"dataset": [data]}
        return str(task.refusal(backbone, roles))

    assert "no parameters to fine-tune" in why(FineTune(), load("pixels", Places()), dataset())
    assert "global_batch is 64, but 24 images" in why(FineTune(), tiny, dataset(train=30))
    widest = FineTune(**{**QUICK, "trials": 2, "space": {"global_batch": (128.0,)}})
    assert "global_batch is 128, but 78 images" in why(widest, tiny, dataset())
    assert "several labels" in why(FineTune(), tiny, dataset("multilabel"))
    one_class = dataset()
    one_class.splits["train"].labels[:] = 1
    assert "one class only" in why(FineTune(), tiny, one_class)
    outside = dataset()
    outside.splits["train"].labels[5] = 7
    assert "labels run" in why(FineTune(), tiny, outside)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"space": {"learning_rat": (1.0,)}}, "did you mean 'learning_rate'"),
        ({"space": {"learning_rate": (-1.0,)}}, "greater than 0"),
        ({"space": {"epochs": (3,)}}, "unknown setting in space"),
        ({"preset": "bob2024"}, "there is no preset 'bob2024'"),
        ({"warmup_epochs": 99}, "above epochs"),
        ({"crop_scale": (0.9, 0.1)}, "lowest, highest"),
        ({"mixup": 0.8, "global_batch": 33}, "global_batch must be even"),
        ({"mixup": 0.8, "space": {"global_batch": (32.0, 33.0)}}, "global_batch must be even"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        FineTune(**settings)
