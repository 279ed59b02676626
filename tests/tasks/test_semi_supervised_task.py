"""Learning from few labels as a task: what is read and what never is, and every method from a plan to its scores."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score

from backbones.base import Backbone, Preprocess
from backbones.catalogue import load
from backbones.features import Extractor, ExtractSettings
from backbones.places import Places
from backbones.preprocessing import fast_transform
from backbones.training.augmentation import Augmentation
from backbones.training.execution import Execution
from backbones.training.recipe import Recipe
from tasks.base import Outputs, Tools
from tasks.catalogue import TASKS, open_dataset
from tasks.classification.few_shot import drawn, few_probe
from tasks.classification.linear import ProbeSettings
from tasks.classification.semi_supervised import few_labels as few_labels_file
from tasks.classification.semi_supervised.catalogue import METHODS, settings_class
from tasks.classification.semi_supervised.few_labels import few_labels
from tasks.classification.semi_supervised.method import Wanted
from tasks.classification.semi_supervised.perturbation import Perturb, Perturbation
from tasks.classification.semi_supervised.stream import Item, SemiStream
from tasks.classification.semi_supervised.task import SemiSupervised
from tasks.datasets.base import Dataset, OpenOptions, Split
from tasks.datasets.partition import partition
from tasks.features import features_of
from tests.semi_supervised_fakes import answers_of, knee, knees, noise_batch, tiny_backbone, tiny_transformer

QUICK: dict[str, Any] = {
    "epochs": 2,
    "global_batch": 10,
    "warmup_epochs": 0.5,
    "labels": 2,
    "layer_decay": 1.0,
    "learning_rate": 1e-3,
    "head": "xavier",
    "batch_norm": "batch",
}
NAMES = ["fixmatch", "mean_teacher", "mixmatch", "semixup", "supervised"]
STILL = {
    "fixmatch": {"weight": 0.0, "threshold": 0.0, "ratio": 1},
    "mean_teacher": {"weight": 0.0, "ramp_up": 0.0},
    "semixup": {"in_manifold_weight": 0.0, "interpolation_weight": 0.0, "out_of_manifold_weight": 0.0},
}
"""Without weight on what has no labels, and so that with it there is something to learn from the first step on."""
MOVED = {name: {key: given[key] for key in given if not key.endswith("weight")} for name, given in STILL.items()}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return knees(train=40, test=20)


@pytest.fixture(scope="module")
def tiny() -> Backbone:
    return tiny_backbone()


def nll(task: SemiSupervised, data: Dataset, backbone: Backbone, **more: Any) -> float:
    return answers_of(task, data, backbone, **more)[0]["nll"].value


def with_train(data: Dataset, images: Any = None, labels: Any = None) -> Dataset:
    """The same, but for what train holds."""
    train = data.splits["train"]
    other = Split(images or train.images, train.labels if labels is None else labels, train.sha256)
    return Dataset(**{**data.__dict__, "splits": {**data.splits, "train": other}})


class Otherwise:
    """Images of which some are others."""

    def __init__(self, inner: Any, rows: set[int]) -> None:
        self.inner, self.rows, self.names, self.identity = inner, rows, inner.names, "otherwise"

    def __len__(self) -> int:
        return len(self.inner)

    def read(self, index: int) -> bytes:
        return bytes(self.inner.read((index + 7) % len(self.inner) if index in self.rows else index))


def test_task_and_methods_are_listed() -> None:
    assert "few labels" in TASKS.found["classification.semi_supervised"].summary
    assert list(METHODS.found) == NAMES
    assert all(plugin.summary.endswith(".") for plugin in METHODS.found.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_method_runs_on_real_images_and_is_scored_as_scikit_learn_scores(name: str, tiny: Backbone) -> None:
    digits = open_dataset("digits", OpenOptions())
    settings = {"ratio": 2} if name == "fixmatch" else {}
    task = SemiSupervised(method=name, settings=settings, **{**QUICK, "unlabelled": 1.0, "epochs": 1})
    scores, notes, table = answers_of(task, digits, tiny)
    label, prediction = (np.asarray(table.columns[column], int) for column in ("label", "prediction"))
    assert scores["mean_per_class"].value == pytest.approx(balanced_accuracy_score(label, prediction))
    assert scores["kappa"].value == pytest.approx(cohen_kappa_score(label, prediction))
    assert scores["kappa"].interval is not None
    assert scores["mean_per_class"].per_sample is not None
    assert "quadratic_kappa" not in scores
    assert (notes["images_with_labels"], notes["images_in_pool"], notes["steps"]) == (20, 40, 4)
    assert np.isfinite(notes["loss_by_epoch"]).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_step_cut_in_two_has_the_same_mean_loss(name: str) -> None:
    """So neither micro-batches nor devices change what is learnt."""
    settings: Any = settings_class(name)(**MOVED.get(name, {}), **({"alpha": 0.75} if name == "supervised" else {}))
    whole, method = noise_batch(settings, items=4), settings.build(tiny_network())
    halves = [
        noise_batch(settings, items=4)._replace(
            labelled=whole.labelled[part],
            labels=whole.labels[part],
            unlabelled=tuple(view.chunk(2)[half] for view in whole.unlabelled),
        )
        for half, part in enumerate((slice(0, 2), slice(2, 4)))
    ]
    parts = [float(method.loss(half).detach()) for half in halves]
    assert float(method.loss(whole).detach()) == pytest.approx(np.mean(parts), abs=1e-5)
    assert parts[0] != pytest.approx(parts[1], abs=1e-4)


def tiny_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))


def test_lower_precision_is_near(data: Dataset, tiny: Backbone) -> None:
    """The loop looks for tensors in all that a batch holds, and changes those alone."""
    task = SemiSupervised(method="mean_teacher", **{**QUICK, "epochs": 1})
    whole, lower = (nll(task, data, tiny, precision=precision) for precision in ("float32", "bfloat16"))
    assert whole != lower
    assert lower == pytest.approx(whole, abs=0.2)


@pytest.mark.parametrize("name", NAMES)
def test_labels_of_unlabelled_images_are_never_read(
    name: str, data: Dataset, tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = partition(data, 0).train
    at = drawn(train.labels, 2, 0, 0)
    poisoned = data.splits["train"].labels.copy()
    rest = np.setdiff1d(train.rows, train.rows[at])
    poisoned[rest] = (poisoned[rest] + 1 + rest % 3) % 5
    other = with_train(data, labels=poisoned)
    monkeypatch.setattr(few_labels_file, "drawn", lambda *_: at)
    monkeypatch.setattr("tasks.classification.semi_supervised.task.partition", lambda *_: partition(data, 0))
    task = SemiSupervised(method=name, settings=MOVED.get(name, {}), **{**QUICK, "epochs": 1})
    (first, _, table), (second, _, again) = (answers_of(task, each, tiny) for each in (data, other))
    assert first["nll"].value == second["nll"].value
    np.testing.assert_array_equal(table.columns["confidence"], again.columns["confidence"])


@pytest.mark.parametrize("name", list(STILL))
@pytest.mark.slow
def test_unlabelled_images_matter_but_for_the_twin_that_gives_them_no_weight(name: str, data: Dataset) -> None:
    """In a network without BatchNorm, whose statistics they would move."""
    tiny = tiny_transformer()
    train = partition(data, 0).train
    rest = set(np.setdiff1d(train.rows, train.rows[drawn(train.labels, 2, 0, 0)]).tolist())
    other = with_train(data, images=Otherwise(data.splits["train"].images, rest))
    for settings, matter in ((MOVED[name], True), (STILL[name], False)):
        task = SemiSupervised(method=name, settings=settings, **{**QUICK, "learning_rate": 3e-3})
        same = nll(task, data, tiny) == pytest.approx(nll(task, other, tiny), abs=1e-6)
        assert same != matter


def test_without_unlabelled_weight_a_training_is_the_supervised_one(data: Dataset) -> None:
    tiny, quick = tiny_transformer(), {**QUICK, "learning_rate": 3e-3}
    varied = {"noise": 0.5, "rotation": 10.0, "shift": 0.05, "gamma_share": 0.5}
    plain = nll(SemiSupervised(method="supervised", settings={"varied": varied, "alpha": 0.75}, **quick), data, tiny)
    still = SemiSupervised(method="semixup", settings=STILL["semixup"], **quick)
    assert nll(still, data, tiny) == pytest.approx(plain, abs=1e-4)
    assert abs(nll(SemiSupervised(method="semixup", **quick), data, tiny) - plain) > 1e-3
    plain = nll(SemiSupervised(method="supervised", **quick), data, tiny)
    still = SemiSupervised(method="fixmatch", settings=STILL["fixmatch"], **quick)
    assert nll(still, data, tiny) == pytest.approx(plain, abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_a_pool_of_labelled_images_alone_is_finite(name: str, data: Dataset, tiny: Backbone) -> None:
    settings = MOVED.get(name, {})
    scores, notes, _ = answers_of(SemiSupervised(method=name, settings=settings, unlabelled=0.0, **QUICK), data, tiny)
    assert notes["images_in_pool"] == notes["images_with_labels"] == 10
    assert np.isfinite(notes["loss_by_epoch"]).all()
    assert np.isfinite(scores["quadratic_kappa"].value)


def test_a_training_that_was_stopped_goes_on_bit_by_bit(
    data: Dataset, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Teacher and average of the weights too."""
    task = SemiSupervised(method="mean_teacher", average_decay=0.9, **QUICK)
    whole = answers_of(task, data, tiny, folder=tmp_path / "whole")
    batch = SemiStream.batch

    def stopped(self: SemiStream, items: Any, step: int, device: torch.device) -> Any:
        if step == 4:
            raise KeyboardInterrupt
        return batch(self, items, step, device)

    monkeypatch.setattr(SemiStream, "batch", stopped)
    with pytest.raises(KeyboardInterrupt):
        answers_of(task, data, tiny, folder=tmp_path / "stopped")
    monkeypatch.setattr(SemiStream, "batch", batch)
    scores, notes, table = answers_of(task, data, tiny, folder=tmp_path / "stopped")
    assert notes["resumed"] == [5]
    assert scores["nll"].value == whole[0]["nll"].value
    np.testing.assert_array_equal(table.columns["confidence"], whole[2].columns["confidence"])


def test_a_seed_gives_the_same_numbers_and_other_seeds_label_other_images(data: Dataset, tiny: Backbone) -> None:
    task = SemiSupervised(method="supervised", **{**QUICK, "epochs": 1})
    first, again, other = (nll(task, data, tiny, seed=seed) for seed in (0, 0, 1))
    assert first == again != other


def test_choosing_looks_at_val_and_says_how_many_labels_it_took(data: Dataset, tiny: Backbone) -> None:
    """The test part has no say: with its labels turned about, the same is chosen and answered."""
    space = {"learning_rate": (1e-3,)}
    task = SemiSupervised(method="supervised", **{**QUICK, "learning_rate": 1e-6, "trials": 2, "space": space})
    test = data.splits["test"]
    turned = Split(test.images, 4 - test.labels, test.sha256)
    other = Dataset(**{**data.__dict__, "splits": {**data.splits, "test": turned}})
    (_, notes, table), (_, others, again) = (answers_of(task, each, tiny) for each in (data, other))
    assert notes["labels_that_chose"] == 10
    assert notes["trials"] == others["trials"]
    assert len(notes["trials"]) == 2
    np.testing.assert_array_equal(table.columns["prediction"], again.columns["prediction"])


def test_labelled_images_are_in_the_pool_and_no_subject_is_in_val_or_test_too() -> None:
    data = knees(groups=12)
    parts = partition(data, 0)
    few = few_labels(parts.train, 2, 1.5, 0)
    assert set(few.labelled.rows) <= set(few.pool.tolist())
    assert len(few.pool) == 10 + 15
    assert np.bincount(few.labelled.labels).tolist() == [2] * 5
    assert set(few.pool.tolist()) <= set(parts.train.rows.tolist())
    whose = data.splits["train"].groups
    assert whose is not None
    assert parts.val.groups
    assert not {whose[row] for row in few.pool.tolist()} & set(parts.val.groups)


def test_a_head_that_starts_at_a_probe_has_seen_only_the_labelled_images(
    data: Dataset, tiny: Backbone, tmp_path: Path
) -> None:
    extract = Extractor(ExtractSettings(tmp_path, device="cpu", workers=1))
    parts = partition(data, 0)
    few = few_labels(parts.train, 2, None, 0)
    known, asked = (features_of(tiny, part, extract) for part in (few.labelled, parts.test))
    expected = few_probe(ProbeSettings(strengths=8), known, few.labelled.labels, 5, 0.01, 0).logits(asked).argmax(1)
    rates = {"learning_rate": 1e-9, "minimum_learning_rate": 0.0, "warmup_learning_rate": 0.0}
    task = SemiSupervised(method="supervised", **{**QUICK, **rates, "head": "probe", "batch_norm": "frozen"})
    given = task.run(tiny, {"dataset": [data]}, Tools(extract, Execution(device="cpu", workers=0)), 0)
    (table,) = (one for one in given if isinstance(one, Outputs))
    assert (table.columns["prediction"] == expected).mean() > 0.95


def test_a_plan_runs(bob: Any, tiny_backbones: list[str], tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        f"backbones: [{tiny_backbones[0]}]\n"
        "tasks:\n"
        "  - {task: classification.semi_supervised, dataset: digits, method: mean_teacher, labels: 2, unlabelled: 1,\n"
        "     epochs: 1, global_batch: 10, settings: {weight: 1.0}}\n"
    )
    code, said = bob("run", "plan.yaml")
    assert code == 0, said
    (record,) = tmp_path.glob("outputs/store/cells/*/record.json")
    assert '"mean_per_class"' in record.read_text()


def make_stream(data: Dataset, wanted: Wanted, labels: int = 2) -> SemiStream:
    few = few_labels(partition(data, 0).train, labels, None, 0)
    plain = Preprocess((32, 32), 32, "center", "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    recipe = Recipe(epochs=2, global_batch=10, warmup_epochs=0)
    return SemiStream(few.labelled.images, few.labelled.rows, few.labelled.labels, few.pool, plain, wanted, recipe, 5)


def test_an_epoch_shows_the_pool_as_often_as_there_are_companions_and_every_label_as_often(data: Dataset) -> None:
    stream = make_stream(data, Wanted(Perturbation(), (Perturbation(),), ratio=3))
    read: list[int] = []
    inner = stream.images

    class Counted(Otherwise):
        def read(self, index: int) -> bytes:
            read.append(index)
            return super().read(index)

    stream.images = Counted(inner, set())
    orders = []
    for epoch in range(2):
        read.clear()
        items = [stream.load(index, epoch) for index in range(len(stream))]
        companions = [row for at, row in enumerate(read) if at % 4]
        assert sorted(companions) == sorted(stream.pool.tolist() * 3)
        assert companions[: len(stream)] != companions[len(stream) : 2 * len(stream)]
        labelled = [row for at, row in enumerate(read) if not at % 4]
        assert np.unique(labelled, return_counts=True)[1].tolist() == [3] * 10
        assert np.bincount([item.label for item in items]).tolist() == [6] * 5
        orders.append(companions)
    assert orders[0] != orders[1]


def test_items_are_the_same_whoever_loads_them_and_views_are_apart(data: Dataset) -> None:
    shaken = Perturbation(noise=1.0, shift=0.2, flip=0.5)
    strong = Augmentation(rand_augment="rand-m10-n2-mstd101-inc1", erasing=1.0)
    wanted = Wanted(shaken, (shaken, shaken, strong), ratio=2)

    def flat(item: Item) -> list[torch.Tensor]:
        return [item.labelled.pixels, *(seen.pixels for view in item.unlabelled for seen in view)]

    first, again = (flat(make_stream(data, wanted).load(3, 1)) for _ in range(2))
    other = flat(make_stream(data, wanted).load(3, 0))
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not any(torch.equal(one, two) for one, two in zip(first, other, strict=True))
    assert not torch.equal(first[1], first[3])
    stream = make_stream(data, wanted)
    batch = stream.batch([stream.load(index, 0) for index in range(4)], 4, torch.device("cpu"))
    assert [tuple(view.shape) for view in batch.unlabelled] == [(8, 3, 32, 32)] * 3
    assert batch.labels.tolist() == [stream.load(index, 0).label for index in range(4)]
    assert (batch.progress.step, batch.progress.total, batch.progress.steps_an_epoch) == (4, 6, 3)
    patch = stream.load(0, 0).unlabelled[2][0].patch
    assert patch is not None
    torch.testing.assert_close(
        batch.unlabelled[2][0][:, patch.top : patch.top + 1, patch.left : patch.left + 1], patch.noise[:, :1, :1]
    )


def perturbed(image: torch.Tensor, index: int = 0, **settings: Any) -> torch.Tensor:
    plain = Preprocess((32, 32), 32, "center", "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return Perturb(Perturbation(**settings), fast_transform(plain), 9)(image, 0, index)[0]


def picture() -> torch.Tensor:
    return torch.from_numpy(knee(2, np.random.default_rng(0))).permute(2, 0, 1).contiguous()


def test_a_perturbation_of_nothing_is_the_image_as_it_is_evaluated() -> None:
    image = picture()
    assert torch.equal(perturbed(image), image)
    assert torch.equal(perturbed(image, flip=1.0), image.flip(2))


def test_a_shift_moves_whole_pixels_over_the_reflected_image() -> None:
    image = picture()
    around = np.pad(image.numpy(), ((0, 0), (4, 4), (4, 4)), mode="reflect")
    windows = {around[:, top : top + 32, left : left + 32].tobytes() for top in range(9) for left in range(9)}
    seen = {perturbed(image, index, shift=0.125).numpy().tobytes() for index in range(60)}
    assert seen <= windows
    assert len(seen) > 30


def test_noise_rotation_and_gamma_are_of_the_strength_that_is_said() -> None:
    grey = torch.full((3, 32, 32), 128, dtype=torch.uint8)
    assert torch.equal(perturbed(grey, rotation=10.0, shift=0.05), grey)
    spreads = [float(perturbed(grey, index, noise=1.0, gain=0.3).float().std()) / 127.5 for index in range(60)]
    assert max(spreads) < 0.32
    assert np.mean(spreads) == pytest.approx(0.15, abs=0.03)
    powers = [np.log(float(perturbed(grey, index, gamma_share=1.0)[0, 0, 0]) / 255) for index in range(60)]
    powers = [power / np.log(128 / 255) for power in powers]
    assert 0.49 < min(powers) < 0.6
    assert 1.4 < max(powers) < 1.52
    image = picture().float()
    turned = [(perturbed(picture(), index, rotation=10.0).float() - image).abs().mean() for index in range(8)]
    assert min(turned) > 0


def test_what_cannot_be_learnt_is_refused_in_words(data: Dataset, tiny: Backbone) -> None:
    why: Callable[..., str] = lambda task, backbone=tiny: str(task.refusal(backbone, {"dataset": [data]}))  # noqa: E731
    assert "no parameters to fine-tune" in why(SemiSupervised(), load("pixels", Places()))
    assert "global_batch is 64, but 30 images" in why(SemiSupervised(global_batch=64))
    assert "global_batch is 32, but 10 images" in why(SemiSupervised(labels=2, unlabelled=0.0))
    assert why(SemiSupervised(global_batch=16)) == "None"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "fixmach"}, "did you mean 'fixmatch'"),
        ({"method": "fixmatch", "settings": {"treshold": 0.9}}, "treshold"),
        ({"method": "fixmatch", "settings": {"threshold": 1.5}}, "less than or equal to 1"),
        ({"method": "semixup", "global_batch": 33}, "global_batch must be even"),
        ({"labels": 0}, "labels must be"),
        ({"labels": 1.5}, "labels must be"),
        ({"space": {"epochs": (3,)}}, "unknown setting in space"),
        ({"preset": "semixup"}, "there is no preset 'semixup'"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SemiSupervised(**settings)


def test_settings_of_a_method_are_whole_in_the_key_and_short_in_a_name() -> None:
    written = SemiSupervised(method="semixup", settings={"alpha": 0.75})
    assert written == SemiSupervised(method="semixup")
    assert written.settings["interpolation_weight"] == 4.0
    assert written.non_defaults() == {"method": "semixup"}
    assert SemiSupervised(method="semixup", settings={"alpha": 1.0}).non_defaults() == {
        "method": "semixup",
        "settings": {"alpha": 1.0},
    }
    assert SemiSupervised().non_defaults() == {}
    assert SemiSupervised(**{"preset": "fixmatch-cifar", "labels": 4}).non_defaults() == {
        "preset": "fixmatch-cifar",
        "labels": 4,
    }
    for name in SemiSupervised.presets:
        SemiSupervised(**{"preset": name})
