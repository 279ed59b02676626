"""The trend of accuracy under shift over accuracy at home: lines known beforehand, and a fit without each by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from results.board import board
from results.formats import FORMATS, renderer
from results.items import score_values
from results.record import ScoreRow
from results.statistics import NORMAL_FROM
from results.store import Store
from results.terminal import print_board
from results.trend import Trend, left_out_residuals, line, logits, trends

N = 10_000


def share(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def shifted(make: Any, backbone: str, at_home: float, abroad: float, n: int = N, **changes: Any) -> Any:
    """A record with these accuracies on the test set "sketch"."""
    common = {"split": "sketch", "n": n}
    scores = [
        ScoreRow(metric="ood_top1", split="test", value=abroad, n=n),
        ScoreRow(metric="top1", value=abroad, **common),
        ScoreRow(metric="id_top1", value=at_home, **common),
        ScoreRow(metric="top1", split="in-distribution", value=0.9, n=n),
    ]
    return make(backbone, abroad, task="ood.shift", headline="ood_top1", scores=scores, **changes)


def on_the_line(make: Any, count: int, **above: float) -> list[Any]:
    """``count`` backbones on logit(abroad) = 0.8 logit(home) - 0.5, and what some are above it."""
    homes = np.linspace(-0.5, 2.5, count)
    return [
        shifted(make, name, share(x), share(0.8 * x - 0.5 + above.get(name, 0.0)))
        for name, x in zip((f"b{i}" for i in range(count)), homes, strict=True)
    ]


def the_trend(found: list[Trend]) -> Trend:
    (trend,) = found
    return trend


def test_backbones_on_a_line_are_as_robust_as_expected(make: Any) -> None:
    trend = the_trend(trends(on_the_line(make, 8)))
    assert [row.logits for row in trend.backbones] == pytest.approx([0] * 8, abs=1e-9)
    assert [row.expected for row in trend.backbones] == pytest.approx([row.abroad for row in trend.backbones])
    assert (trend.slope, trend.intercept) == pytest.approx((0.8, -0.5))
    assert trend.test_set == "sketch", "the set at home is no shift"


def test_one_above_is_measured_by_a_line_it_does_not_pull(make: Any) -> None:
    trend = the_trend(trends(on_the_line(make, 8, b5=0.5)))
    found = {row.backbone: row.logits for row in trend.backbones}
    assert found["b5"] == pytest.approx(0.5, abs=1e-9)
    assert trend.backbones[0].backbone == "b5"
    assert all(value < 0 for name, value in found.items() if name in ("b4", "b6"))
    row = trend.backbones[0]
    assert logits(np.array(row.abroad), N) - logits(np.array(row.expected), N) == pytest.approx(0.5)


def test_residuals_are_those_of_a_line_fitted_without_each() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(3, 9)), generator.normal(size=(3, 9))
    found = left_out_residuals(x, y)
    for draw in range(3):
        for one in range(9):
            others = np.arange(9) != one
            slope, intercept = np.polyfit(x[draw, others], y[draw, others], 1)
            assert found[draw, one] == pytest.approx(y[draw, one] - slope * x[draw, one] - intercept)


def test_where_the_others_do_not_vary_there_is_no_line() -> None:
    x = np.array([1.0, 1.0, 1.0, 1.0, 2.0])
    assert np.isnan(left_out_residuals(x, x)[4])
    assert np.isnan(line(np.ones(4), np.arange(4.0))[0])
    assert np.isnan(left_out_residuals(np.ones(4), np.arange(4.0))).all()


@pytest.mark.parametrize(("count", "shown"), [(5, 0), (6, 1)])
def test_a_line_takes_five_others(make: Any, count: int, shown: int) -> None:
    assert len(trends(on_the_line(make, count))) == shown


def test_baselines_and_failures_are_no_backbones(make: Any) -> None:
    records = on_the_line(make, 5)
    floor = shifted(make, "pixels", 0.4, 0.9, baseline=True)
    failed = shifted(make, "broken", 0.4, 0.9).model_copy(update={"status": "failed"})
    assert trends([*records, floor, failed]) == []
    whole = on_the_line(make, 6)
    assert trends([*whole, floor]) == trends(whole)


def test_all_right_and_all_wrong_are_kept_half_an_image_away(make: Any) -> None:
    """On a line of slope 1 through the clipped ends, whose log odds are those of half an image of ten."""
    n = 10
    ends = [(0.0, 0.0), (1.0, 1.0)]
    middle = [(x, x) for x in (0.2, 0.4, 0.6, 0.8)]
    records = [shifted(make, f"b{i}", x, y, n) for i, (x, y) in enumerate([*ends, *middle])]
    trend = the_trend(trends(records))
    assert [row.logits for row in trend.backbones] == pytest.approx([0] * 6, abs=1e-9)
    assert logits(np.array([0.0, 1.0]), n) == pytest.approx([-np.log(19), np.log(19)])


def test_equal_backbones_share_their_place_and_are_in_order_of_name(make: Any) -> None:
    records = [shifted(make, f"b{i}", x, x) for i, x in enumerate([0.5, 0.5, 0.6, 0.6, 0.7, 0.7])]
    trend = the_trend(trends(records))
    assert [row.logits for row in trend.backbones] == pytest.approx([0] * 6, abs=1e-9)
    twins = [shifted(make, name, 0.5, 0.6) for name in ("z", "a")]
    found = the_trend(trends([*records, *twins])).backbones
    assert [row.backbone for row in found[:2]] == ["a", "z"]
    assert found[0].logits == found[1].logits


def test_seeds_are_averaged_before_anything_is_fitted(make: Any) -> None:
    whole = on_the_line(make, 7)
    halves = [
        shifted(make, "b0", score.value + change, whole[0].scores[1].value, seed=seed)
        for seed, change in ((0, 0.05), (1, -0.05))
        for score in [whole[0].scores[2]]
    ]
    found, expected = (the_trend(trends(records)) for records in ([*halves, *whole[1:]], whole))
    assert [row.logits for row in found.backbones] == pytest.approx(
        [row.logits for row in expected.backbones], abs=1e-9
    )


def drawn_items(shares: np.ndarray, n: int, seed: int) -> np.ndarray:
    """(n, backbones) right or wrong, of images that are hard for all or for none."""
    hardness = np.random.default_rng(seed).random(n)
    return (hardness[:, None] < shares).astype(float)


@pytest.mark.parametrize("n", [400, NORMAL_FROM])
def test_intervals_are_those_of_images_drawn_anew_for_all_backbones_together(make: Any, n: int) -> None:
    """Against a bootstrap image by image with a fit without each; the normal limit of many images agrees with it."""
    homes = np.array([0.5, 0.55, 0.62, 0.7, 0.74, 0.8, 0.85])
    home, abroad = drawn_items(homes, n, 0), drawn_items(homes**2, n, 1)
    records = [shifted(make, f"b{i}", home[:, i].mean(), abroad[:, i].mean(), n) for i in range(7)]
    held = {
        (record.cell.backbone, metric): values[:, i]
        for i, record in enumerate(records)
        for metric, values in (("id_top1", home), ("top1", abroad))
    }
    trend = the_trend(trends(records, lambda record, row: held[record.cell.backbone, row.metric]))
    generator = np.random.default_rng(5)
    slow = []
    for _ in range(400):
        rows, others = generator.integers(0, n, n), generator.integers(0, n, n)
        x, y = logits(home[rows].mean(0), n), logits(abroad[others].mean(0), n)
        slow.append([
            y[i] - np.polyval(np.polyfit(np.delete(x, i), np.delete(y, i), 1), x[i]) for i in range(7)
        ])  # fmt: skip
    low, high = np.quantile(slow, [0.025, 0.975], axis=0)
    for row in trend.backbones:
        i = int(row.backbone[1:])
        assert row.low is not None
        assert row.high is not None
        width = high[i] - low[i]
        assert row.low == pytest.approx(low[i], abs=0.2 * width)
        assert row.high == pytest.approx(high[i], abs=0.2 * width)
        assert row.low < row.logits < row.high


def test_where_the_items_of_one_are_gone_there_are_no_intervals(make: Any) -> None:
    records = on_the_line(make, 6)
    trend = the_trend(trends(records, lambda record, row: None if record.cell.backbone == "b2" else np.ones(N)))
    assert all(row.low is None and row.high is None for row in trend.backbones)


def test_items_of_a_score_over_its_own_images_or_over_others(tmp_path: Path, make: Any) -> None:
    store, record = Store(tmp_path), shifted(make, "b", 0.5, 0.75, 4)
    table = pa.table(
        {
            "split": ["sketch"] * 4 + ["sketch:id_top1"] * 2 + ["in-distribution"] * 4,
            "score:top1": [1.0, 1.0, 0.0, 1.0, None, None, 0.0, 0.0, 0.0, 0.0],
            "score:id_top1": [None] * 4 + [1.0, 0.0] + [None] * 4,
        }
    )
    store.commit(record, table)
    rows = {(row.metric, row.split): row for row in record.scores}
    abroad = score_values(store, record, rows["top1", "sketch"])
    assert abroad is not None
    assert abroad.tolist() == [1, 1, 0, 1]
    home = rows["id_top1", "sketch"]
    assert score_values(store, record, home) is None, "not all of them are there"
    found = score_values(store, record, home.model_copy(update={"n": 2}))
    assert found is not None
    assert found.tolist() == [1, 0]
    assert score_values(store, shifted(make, "other", 0.5, 0.5), home) is None


def test_the_board_shows_trends_where_there_are_enough(make: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shown = board(on_the_line(make, 7, b3=0.5))
    texts = {name: renderer(name)(shown) for name in FORMATS}
    print_board(shown)
    for text in (texts["markdown"], texts["html"], capsys.readouterr().out):
        assert "Effective robustness" in text
        assert "+0.50" in text
    body = json.loads(texts["json"])
    assert body["trends"][0]["backbones"][0]["backbone"] == "b3"
    assert body["trends"][0]["backbones"][0]["logits"] == pytest.approx(0.5)
    few = board(on_the_line(make, 5))
    assert few.trends == ()
    assert all("Effective robustness" not in renderer(name)(few) for name in FORMATS)


def test_what_is_in_no_rank_is_in_no_trend(make: Any) -> None:
    """Stale, quarantined and failed numbers would bend the line that others are held against."""
    records = on_the_line(make, 6)
    suspicious = shifted(make, "liar", 0.5, 0.99, notes={"suspicions": ["its features have collapsed"]})
    shown = board([*records, suspicious])
    assert {row.backbone for row in shown.trends[0].backbones} == {f"b{i}" for i in range(6)}
    assert board([*records[:5], suspicious]).trends == ()
