"""Score against step: the points are the records', levels are the best others, and a single checkpoint is no curve."""

import io
from collections.abc import Callable

import pytest

from results.plots import learning
from results.plots.base import Evidence, Picture, by_setting
from results.record import Cell, Record, ScoreRow


def made(
    make: Callable[..., Record], name: str, value: float, seed: int = 0, task: str = "classification.knn"
) -> Record:
    record = make(name, task=task, seed=seed, baseline=name.startswith("random:"))
    row = ScoreRow(metric=record.headline, split="test", value=value, low=value - 0.02, high=value + 0.03, n=200)
    cell = Cell(backbone=name, task=task, datasets={"dataset": ["d"]}, seed=seed)
    return record.model_copy(update={"scores": [row], "cell": cell})


def evidence(records: list[Record]) -> Evidence:
    return Evidence(records, lambda record: None, lambda record: pytest.fail("no images are drawn"))


def test_points_are_means_over_seeds_in_the_order_of_steps(make: Callable[..., Record]) -> None:
    records = [
        made(make, "checkpoint:mine@900", 0.5),
        made(make, "checkpoint:mine@90", 0.2),
        made(make, "checkpoint:mine@90", 0.4, seed=1),
        made(make, "checkpoint:alone@90", 0.9),
    ]
    (backbones,) = by_setting(records).values()
    curves = learning.learning_curves(backbones)
    assert list(curves) == ["mine"]
    first, last = curves["mine"]
    assert (first.step, last.step) == (90, 900)
    assert (first.value, first.low, first.high) == pytest.approx((0.3, 0.18, 0.43))


def test_levels_are_the_best_others_of_each_kind(make: Callable[..., Record]) -> None:
    records = [made(make, f"timm:net{number}", number / 10) for number in range(5)]
    records += [made(make, "random:timm:net0", 0.1), made(make, "checkpoint:mine@3", 0.9)]
    (backbones,) = by_setting(records).values()
    assert list(learning.levels_of(backbones)) == ["timm:net4", "timm:net3", "timm:net2", "random:timm:net0"]


@pytest.mark.parametrize("runs", [1, 12])
def test_it_is_drawn_whatever_the_names(make: Callable[..., Record], runs: int) -> None:
    names = [f"checkpoint:$x$ <script>{number}" + "y" * 300 for number in range(runs)]
    records = [
        made(make, f"{name}@{step}", step / 100, task=task)
        for name in names
        for step in (10, 20)
        for task in ("classification.knn", "retrieval", "ood.shift", "ood.detect")
    ]
    (picture,) = learning.draw(evidence(records))
    assert isinstance(picture, Picture)
    picture.figure.savefig(io.BytesIO(), format="png", dpi=40)


def test_no_run_no_picture(make: Callable[..., Record]) -> None:
    assert list(learning.draw(evidence([made(make, "timm:a", 0.3), made(make, "checkpoint:b@1", 0.2)]))) == []
