"""The streamed linear probe: against torch's own SGD, against the exact probe, and on what must not decide anything."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from backbones.training.execution import Execution
from backbones.training.order import epoch_order
from tasks.base import Tools
from tasks.classification.batches import ahead, in_order, shuffled
from tasks.classification.linear import LinearProbe
from tasks.classification.linear_sgd import StreamedProbe, train_heads
from tasks.classification.streamed import Known
from tasks.rows import Rows

CLASSES = tuple("abcdefg")


def known(features: np.ndarray, labels: np.ndarray) -> Known:
    return Known(Rows(((features, np.arange(len(features))),)), labels)


def by_hand(settings: StreamedProbe, features: np.ndarray, labels: np.ndarray, seed: int) -> nn.Sequential:
    """The same training with torch's BatchNorm1d, Linear, cross-entropy and SGD, one head, rows in the order given."""
    norm, head = nn.BatchNorm1d(features.shape[1], affine=False, eps=1e-6), nn.Linear(features.shape[1], 7)
    with torch.no_grad():
        nn.init.trunc_normal_(head.weight, std=0.01, generator=torch.Generator().manual_seed(seed))
        head.bias.zero_()
    (rate,), (decay,) = settings.learning_rates, settings.weight_decays
    groups = [{"params": [head.weight], "weight_decay": decay}, {"params": [head.bias]}]
    optimiser = torch.optim.SGD(groups, lr=rate, momentum=settings.momentum)
    steps = len(labels) // settings.batch
    for step in range(settings.epochs * steps):
        rows = epoch_order(len(labels), seed, step // steps)[step % steps * settings.batch :][: settings.batch]
        for group in optimiser.param_groups:
            past, warm, whole = step, settings.warmup_epochs * steps, settings.epochs * steps
            share = past / warm if past < warm else (1 + np.cos(np.pi * (past - warm) / (whole - warm))) / 2
            group["lr"] = rate * settings.batch / 256 * share
        optimiser.zero_grad()
        scores = head(norm(torch.from_numpy(features[rows])))
        nn.functional.cross_entropy(scores, torch.from_numpy(labels[rows])).backward()
        optimiser.step()
    return nn.Sequential(norm, head).eval()


def test_a_head_is_what_torch_makes_of_it(blobs: Any) -> None:
    """Two heads are trained in one pass; the second is held against a training of its own, written out."""
    features, labels = blobs(200, 7, 1)
    alone = StreamedProbe(
        learning_rates=[2.0], weight_decays=[0.01], batch=32, epochs=4, warmup_epochs=1, scaling="batch_norm"
    )
    execution = Execution(device="cpu")
    scorer = train_heads(alone, 7, 3, execution, known(features, labels), [(0.1, 0.0), (2.0, 0.01)])
    expected = by_hand(alone, features, labels, 3)(torch.from_numpy(blobs(50, 7, 2)[0])).detach().numpy()
    np.testing.assert_allclose(scorer(blobs(50, 7, 2)[0])[:, 1], expected, rtol=1e-3, atol=1e-4)
    assert np.abs(scorer(blobs(50, 7, 2)[0])[:, 0] - expected).max() > 0.1


def test_heads_stepped_in_groups_are_the_same_heads(blobs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(200, 7, 1)
    task, execution = StreamedProbe(batch=32, epochs=4, optimiser="lars"), Execution(device="cpu")
    whole = train_heads(task, 7, 3, execution, known(features, labels), task.grid())(features)
    monkeypatch.setattr("tasks.classification.heads.CACHED", 3 * 7 * 16)  # three at a time, the last one alone
    parted = train_heads(task, 7, 3, execution, known(features, labels), task.grid())(features)
    assert whole.shape == (200, 28, 7)
    np.testing.assert_allclose(parted, whole, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("optimiser", ["sgd", "lars"])
def test_it_learns_what_the_exact_probe_learns(optimiser: Any, seed: int, world: Any, blobs: Any) -> None:
    """Within 2 points of ``classification.linear`` and far above chance (1/7) on 1,400 images, whatever the seed."""
    parts = {"train": blobs(1400, 7, 1), "val": blobs(350, 7, 2), "test": blobs(1400, 7, 3)}
    dataset = world.dataset("d", CLASSES, parts)
    rates = (0.1, 0.3, 1.0) if optimiser == "sgd" else (3.0, 10.0, 30.0)
    task = StreamedProbe(optimiser=optimiser, learning_rates=rates, weight_decays=[0.0, 1e-3], batch=64, epochs=20)
    streamed, exact = world.run(task, seed, dataset=dataset), world.run(LinearProbe(), dataset=dataset)
    assert exact["top1"] > 3 / 7
    assert streamed["top1"] == pytest.approx(exact["top1"], abs=0.02)
    assert streamed["nll"] < exact["nll"] + 0.05


def test_without_anything_to_learn_it_is_at_chance(world: Any, blobs: Any) -> None:
    parts = {name: (blobs(700, 7, seed)[0], blobs(700, 7, seed + 9)[1]) for seed, name in enumerate(("train", "test"))}
    answers = world.run(StreamedProbe(batch=64), dataset=world.dataset("d", CLASSES, parts))
    assert answers["top1"] == pytest.approx(1 / 7, abs=0.05)


def test_the_best_on_val_is_trained_anew_on_train_and_val(world: Any, blobs: Any) -> None:
    parts = {"train": blobs(280, 7, 1), "val": blobs(140, 7, 2), "test": blobs(70, 7, 3)}
    dataset = world.dataset("d", CLASSES, parts)
    task = StreamedProbe(learning_rates=[0.001, 0.3], weight_decays=[0.0, 0.01], batch=32)
    answers = world.run(task, dataset=dataset)
    reached = answers.notes["val_top1"].value
    chosen = answers.notes["learning_rate"].value, answers.notes["weight_decay"].value
    assert len(reached) == 4
    assert reached[f"learning rate {chosen[0]:.3g}, weight decay {chosen[1]:.3g}"] == max(reached.values())
    both = np.concatenate([parts["train"][0], parts["val"][0]]), np.concatenate([parts["train"][1], parts["val"][1]])
    scores = train_heads(task, 7, 0, Execution(device="cpu"), known(*both), [chosen])(parts["test"][0])[:, 0]
    np.testing.assert_array_equal(answers.outputs["test"]["prediction"], scores.argmax(1))
    only = dataclasses.replace(task, learning_rates=(chosen[0],), weight_decays=(chosen[1],))
    again = world.run(only, dataset=dataset)
    assert again["nll"] == pytest.approx(answers["nll"], abs=1e-6)
    assert "val_top1" not in again.notes  # of one head there is nothing to choose


def test_the_test_part_decides_nothing_and_the_seed_decides_everything(world: Any, blobs: Any) -> None:
    train, test = blobs(280, 7, 1), blobs(140, 7, 2)
    turned = (test[0][::-1].copy(), test[1][::-1].copy())
    task = StreamedProbe(batch=32, epochs=2)
    one, two = (
        world.run(task, seed=5, dataset=world.dataset(name, CLASSES, {"train": train, "test": part}))
        for name, part in (("one", test), ("two", turned))
    )
    assert one.notes["val_top1"].value == two.notes["val_top1"].value
    np.testing.assert_allclose(one.outputs["test"]["confidence"], two.outputs["test"]["confidence"][::-1], rtol=1e-5)
    again = world.run(task, seed=5, dataset=world.dataset("one", CLASSES, {"train": train, "test": test}))
    np.testing.assert_array_equal(one.outputs["test"]["confidence"], again.outputs["test"]["confidence"])
    other = world.run(task, seed=6, dataset=world.dataset("one", CLASSES, {"train": train, "test": test}))
    assert not np.allclose(one.outputs["test"]["confidence"], other.outputs["test"]["confidence"])


def test_order_follows_from_seed_and_epoch_and_holds_every_row_once(blobs: Any) -> None:
    features, labels = blobs(50, 7, 1)
    rows = known(features, labels).rows
    epochs = [[batch for at, batch in shuffled(rows, labels, 16, 3, seed=1) if int(at) == epoch] for epoch in range(3)]
    for batches in epochs:
        assert [len(found) for _, found in batches] == [16, 16, 16]  # the two left over are dropped
        seen = np.concatenate([found for found, _ in batches])
        assert len(np.unique(seen, axis=0)) == 48
        place = {row.tobytes(): label for row, label in zip(features, labels, strict=True)}
        assert [place[row.tobytes()] for row in seen] == np.concatenate([found for _, found in batches]).tolist()
    assert sorted(epoch_order(50, 1, 0)) == list(range(50))
    assert epoch_order(50, 1, 0).tolist() == epoch_order(50, 1, 0).tolist()
    assert len({tuple(epoch_order(50, seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    times = [time for time, _ in shuffled(rows, labels, 16, 2, 1)]
    assert times == pytest.approx([0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3])
    np.testing.assert_array_equal(np.concatenate([found for found, _ in in_order(rows, labels, 16)]), features)


def test_an_error_while_reading_ahead_reaches_the_reader() -> None:
    def broken() -> Any:
        yield 1
        raise OSError("the disk is gone")

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(items)


@pytest.mark.parametrize(
    ("grid", "at_edge"),
    [
        ({"learning_rates": [1e-6, 1e-5], "weight_decays": [0.0]}, ["learning rate"]),
        ({"learning_rates": [0.3], "weight_decays": [0.5, 1e-4]}, ["weight decay"]),
        ({"learning_rates": [0.3], "weight_decays": [0.0, 5.0]}, []),
        ({"learning_rates": [1e-5, 0.3, 1e9], "weight_decays": [0.0]}, []),
    ],
)
def test_an_end_of_the_grid_is_warned_of(grid: Any, at_edge: list[str], world: Any, blobs: Any) -> None:
    dataset = world.dataset("d", CLASSES, {"train": blobs(280, 7, 1), "test": blobs(70, 7, 2)})
    notes = world.run(StreamedProbe(batch=32, **grid), dataset=dataset).notes
    assert [what for what in at_edge if what not in notes["at_edge"].value] == []
    assert ("at_edge" in notes) == bool(at_edge)


def test_heads_that_end_in_infinity_are_left_out_and_noted(world: Any, blobs: Any) -> None:
    dataset = world.dataset("d", CLASSES, {"train": blobs(280, 7, 1), "test": blobs(70, 7, 2)})
    task = StreamedProbe(learning_rates=[0.1, 1e30], weight_decays=[10.0], batch=32)
    answers = world.run(task, dataset=dataset)
    assert answers.notes["learning_rate"].value == 0.1
    assert "1 of 2 heads" in answers.notes["diverged"].value
    assert answers.notes["val_top1"].value["learning rate 1e+30, weight decay 10"] is None
    with pytest.raises(FloatingPointError, match="all 2 heads"):
        world.run(dataclasses.replace(task, learning_rates=(1e29, 1e30)), dataset=dataset)


def test_a_preset_is_its_fields(world: Any) -> None:
    preset = StreamedProbe(preset="bob2023")  # type: ignore[call-arg]
    assert preset == StreamedProbe(
        optimiser="lars", learning_rates=[0.1], weight_decays=[0.0], momentum=0.9, batch=2048, epochs=90,
        warmup_epochs=10, scaling="batch_norm",
    )  # fmt: skip
    assert "preset" not in dataclasses.asdict(preset)
    assert StreamedProbe(preset="bob2023", epochs=20).epochs == 20  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match=r"no preset 'bob2024'; there are: bob2023"):
        StreamedProbe(preset="bob2024")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rates": []},
        {"learning_rates": [0.0]},
        {"learning_rates": [float("inf")]},
        {"learning_rates": [0.1, 0.1]},
        {"weight_decays": [-1e-4]},
        {"batch": 1},
        {"epochs": 0},
        {"epochs": 5, "warmup_epochs": 5},
        {"momentum": 1.0},
        {"optimiser": "adam"},
        {"scaling": "whitening"},
        {"strengths": 3},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        StreamedProbe(**wrong)


def test_data_nothing_can_be_learnt_from_is_refused(world: Any, blobs: Any) -> None:
    def why(labels: np.ndarray, classes: tuple[str, ...] = CLASSES, batch: int = 32) -> str:
        parts = {"train": (blobs(40, 7, 1)[0], labels), "test": blobs(14, 7, 2)}
        dataset = world.dataset("d", classes, parts)
        task, data = StreamedProbe(batch=batch), {"dataset": [dataset]}
        refusal = task.refusal(world.nobody, data)
        assert refusal is not None
        with pytest.raises(ValueError, match=refusal[:20].replace("'", ".")):
            list(task.run(world.nobody, data, Tools(world.extract), 0))
        return refusal

    good = np.arange(40) % 7
    assert "a batch of 64 is more than its 33 train images; lower batch" in why(good, batch=64)
    assert "one class only ('d')" in why(np.full(40, 3))
    assert "labels run" in why(good + 1)


def test_nan_features_are_refused_with_the_image(world: Any, blobs: Any) -> None:
    features, labels = blobs(140, 7, 1)
    features[11, 3] = np.nan
    dataset = world.dataset(
        "d", CLASSES, {"train": (features, labels), "val": blobs(70, 7, 2), "test": blobs(70, 7, 3)}
    )
    with pytest.raises(FloatingPointError, match=r"train/00011\.png"):
        world.run(StreamedProbe(batch=32), dataset=dataset)


def test_progress_is_told_to_the_end(world: Any, blobs: Any) -> None:
    told: list[tuple[str, int, int]] = []
    execution = Execution(device="cpu", report=lambda *what: told.append(what))
    features, labels = blobs(100, 7, 1)
    train_heads(StreamedProbe(batch=32, epochs=2), 7, 0, execution, known(features, labels), [(0.1, 0.0)])
    assert told == [("heads", done, 6) for done in range(1, 7)]
