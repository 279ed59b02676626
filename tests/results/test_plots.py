"""Plots of made records: what is drawn is what they hold, however many backbones there are, whatever their names."""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from results.plots import contact_sheet, corruption, reliability, robustness, roc, shift
from results.plots.base import Evidence, Picture
from results.record import Cell, Record, ScoreRow

HOSTILE = ["$\\alpha$ and $x", "_hidden", "two\nlines", "x" * 500, "</text><script>", "$\\frac{1}{$"]


@dataclass
class Made:
    """Records of one task with their items, as a store would hold them."""

    make: Callable[..., Record]
    task: str
    datasets: dict[str, list[str]] = field(default_factory=lambda: {"dataset": ["d"]})
    records: list[Record] = field(default_factory=list)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)

    def add(
        self, backbone: str, scores: Mapping[tuple[str, str], float], items: pd.DataFrame | None = None, **more: Any
    ) -> Record:
        record = self.make(backbone, task=self.task, **more).model_copy(
            update={
                "scores": [ScoreRow(metric=metric, split=split, value=value, n=200)
                           for (metric, split), value in scores.items()],
                "cell": Cell(backbone=backbone, task=self.task, datasets=self.datasets, seed=more.get("seed", 0)),
            }
        )  # fmt: skip
        self.records.append(record)
        if items is not None:
            self.tables[record.key] = items
        return record

    def draw(self, plot: Any, images: Any = None) -> list[Any]:
        evidence = Evidence(self.records, lambda record: self.tables.get(record.key), images)
        return list(plot.draw(evidence))


@pytest.fixture
def made(make: Callable[..., Record]) -> Callable[[str], Made]:
    return lambda task: Made(make, task)


def png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=40)
    return file.getvalue()


def lines(axes: Any) -> list[tuple[list[float], list[float]]]:
    return [(np.asarray(x).tolist(), np.asarray(y).tolist()) for x, y in (line.get_data() for line in axes.lines)]


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def corrupted(made: Made, name: str, start: float, **more: Any) -> dict[str, list[float]]:
    curves = {
        function: [start, *(start - step * level for level in range(1, 6))]
        for function, step in (("fog", 0.02), ("gaussian_noise", 0.1))
    }
    scores = {("top1", "clean"): start, ("mCE", "test"): 0.5}
    scores |= {
        ("top1", f"{function}/{level}"): curve[level] for function, curve in curves.items() for level in range(1, 6)
    }
    made.add(name, scores, **more)
    return curves


def test_corruption_draws_every_level_and_the_mean(made: Callable[[str], Made]) -> None:
    store = made("ood.corruption")
    expected = {name: corrupted(store, name, start) for name, start in (("a", 0.9), ("b", 0.7))}
    (picture,) = store.draw(corruption)
    mean, fog, noise = [axes for axes in picture.figure.axes if axes.axison]
    for place, curves in enumerate(expected.values()):
        assert lines(fog)[place][1] == pytest.approx(curves["fog"])
        assert lines(noise)[place][1] == pytest.approx(curves["gaussian_noise"])
        assert lines(mean)[place] == (list(range(6)), pytest.approx(np.mean(list(curves.values()), axis=0)))
    assert legend_of(picture.figure) == ["a", "b"]
    assert noise.get_title() == "gaussian noise"


def test_seeds_are_averaged(made: Callable[[str], Made]) -> None:
    store = made("ood.corruption")
    curves = [corrupted(store, "a", start, seed=seed) for seed, start in enumerate((0.9, 0.7))]
    (picture,) = store.draw(corruption)
    fog = picture.figure.axes[1]
    assert len(fog.lines) == 1
    assert lines(fog)[0][1] == pytest.approx(np.mean([each["fog"] for each in curves], axis=0))


def test_levels_that_were_not_asked_are_gaps(made: Callable[[str], Made]) -> None:
    store = made("ood.corruption")
    store.add("a", {("top1", "clean"): 0.9, ("top1", "fog/1"): 0.8, ("top1", "fog/3"): 0.6})
    (picture,) = store.draw(corruption)
    assert lines(picture.figure.axes[0])[0] == ([0, 1, 3], pytest.approx([0.9, 0.8, 0.6]))


def test_a_line_of_one_corruption_goes_on_over_levels_that_were_not_asked(made: Callable[[str], Made]) -> None:
    store = made("ood.corruption")
    levels = {("top1", f"{name}/{level}"): 0.8 - level / 10 for name in ("fog", "snow") for level in (1, 3, 5)}
    store.add("a", {("top1", "clean"): 0.9, **levels})
    (picture,) = store.draw(corruption)
    for axes in picture.figure.axes[:3]:
        assert lines(axes)[0] == ([0, 1, 3, 5], pytest.approx([0.9, 0.7, 0.5, 0.3]))


def detected(seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    frames = [
        pd.DataFrame({
            "split": split, "item": [f"{split}{i}" for i in range(count)],
            "known:msp": generator.normal(shift, 1, count).round(1),
            "known:energy": generator.normal(2 * shift, 1, count).round(1),
        })
        for split, count, shift in (("in-distribution", 300, 1.0), ("near", 100, 0.5), ("far", 90, 0.0))
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def test_the_area_under_a_drawn_roc_curve_is_auroc(made: Callable[[str], Made]) -> None:
    store = made("ood.detect")
    table = detected(0)
    store.add("a", {}, table)
    (picture,) = store.draw(roc)
    home = table[table["split"] == "in-distribution"]
    areas: dict[str, list[float]] = {"msp": [], "energy": []}
    for axes, name in zip(picture.figure.axes, ("near", "far"), strict=True):
        assert axes.get_title() == name
        away = table[table["split"] == name]
        truth = np.repeat([1, 0], [len(home), len(away)])
        for method, each in areas.items():
            each.append(roc_auc_score(truth, np.concatenate([home[f"known:{method}"], away[f"known:{method}"]])))
        drawn = sorted(np.trapezoid(y, x) for x, y in lines(axes)[2:])  # after chance and 95 %
        assert drawn == pytest.approx(sorted(each[-1] for each in areas.values()))
    said = dict(text.split("  ") for text in legend_of(picture.figure))
    assert said == {method: f"{np.mean(each):.3f}" for method, each in areas.items()}


def test_shifted_images_of_classes_learnt_are_no_unknown_ones(made: Callable[[str], Made]) -> None:
    store = made("ood.detect")
    store.datasets = {"train": ["d"], "shifted": ["near"], "far": ["far"]}
    store.add("a", {}, detected(0))
    (picture,) = store.draw(roc)
    assert [axes.get_title() for axes in picture.figure.axes] == ["far"]


def test_a_mean_roc_curve_of_seeds_has_the_mean_area(made: Callable[[str], Made]) -> None:
    store = made("ood.detect")
    areas = []
    for seed in range(3):
        store.add("a", {}, table := detected(seed), seed=seed)
        areas.append(roc.area(roc.roc(*(table[table["split"] == name]["known:msp"].to_numpy()
                                        for name in ("in-distribution", "far")))))  # fmt: skip
    evidence = Evidence(store.records, lambda record: store.tables[record.key], None)  # type: ignore[arg-type]
    assert roc.area(roc.curves_of(store.records, evidence)["far"]["msp"]) == pytest.approx(np.mean(areas), abs=2e-3)


def judged(seed: int, scaled: bool) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    confidence = generator.beta(5, 2, 2000)
    columns = {"split": "home", "confidence": confidence, "correct": (generator.random(2000) < confidence**2) * 1.0}
    return pd.DataFrame(columns | ({"scaled_confidence": confidence**2} if scaled else {}))


@pytest.mark.parametrize("scaled", [False, True])
def test_reliability_is_the_accuracy_of_each_bin(made: Callable[[str], Made], scaled: bool) -> None:
    store = made("ood.calibration")
    table = judged(0, scaled)
    store.add("a", {("ece", "home"): 0.25, ("scaled_ece", "home"): 0.125, ("ece", "fog/3"): 0.3}, table)
    (picture,) = store.draw(reliability)  # none of the many levels of a corruption
    (axes,) = picture.figure.axes
    for column, (x, y) in zip(("confidence", "scaled_confidence"), lines(axes)[1:], strict=False):
        inside = [table[(table[column] > low / 15) & (table[column] <= (low + 1) / 15)] for low in range(15)]
        held = [rows for rows in inside if len(rows)]
        assert x == pytest.approx([rows[column].mean() for rows in held])
        assert y == pytest.approx([rows["correct"].mean() for rows in held])
        heights = [bar.get_height() for bar in axes.patches if bar.get_facecolor() == _colour(axes, column)]
        most = max(bar.get_height() for bar in axes.patches)
        counts = np.array([len(rows) for rows in held])
        assert np.array(heights) / heights[0] == pytest.approx(counts / counts[0])
        assert most == pytest.approx(1 / reliability.FOOT)
    said = [text.get_text() for text in axes.texts]
    assert ("ECE 0.250" in said, "ECE 0.125" in said) == (True, scaled)


def _colour(axes: Any, column: str) -> tuple[float, ...]:
    from matplotlib.colors import to_rgba

    return to_rgba(reliability.SHOWN[column][1], 0.25)


def test_bins_and_their_error_are_those_of_the_definition() -> None:
    table = judged(3, False)
    held = reliability.bins(table["confidence"].to_numpy(), table["correct"].to_numpy())
    error = (held.count * np.abs(held.accuracy - held.confidence)).sum() / held.count.sum()
    place = np.digitize(table["confidence"], np.linspace(0, 1, 16), right=True)
    gaps = (table["correct"] - table["confidence"]).groupby(place).sum().abs().sum() / len(table)
    assert error == pytest.approx(gaps)
    low, high = held.interval
    assert ((low <= held.accuracy + 1e-9) & (held.accuracy <= high + 1e-9)).all()
    assert proportion_by_hand(8, 10) == pytest.approx([0.4901624, 0.9433178])


def proportion_by_hand(right: int, count: int) -> list[float]:
    held = reliability.bins(np.full(count, 0.5), np.arange(count) < right)
    return [float(each[0]) for each in held.interval]


def test_a_shift_is_a_point_a_backbone_and_the_trend_leaves_baselines_out(made: Callable[[str], Made]) -> None:
    store = made("ood.shift")
    homes = np.array([0.5, 0.7, 0.9])
    away = 1 / (1 + np.exp(-(0.8 * np.log(homes / (1 - homes)) - 1)))
    for place, (home, there) in enumerate(zip(homes, away, strict=True)):
        store.add(f"b{place}", {("id_top1", "sketch"): home, ("top1", "sketch"): there})
    store.add("floor", {("id_top1", "sketch"): 0.1, ("top1", "sketch"): 0.0}, baseline=True)
    (picture,) = store.draw(shift)
    (axes,) = picture.figure.axes
    points = [line for line in lines(axes) if len(line[0]) == 1]
    assert [x for (x,), _ in points] == pytest.approx([*homes, 0.1])
    assert [y for _, (y,) in points] == pytest.approx([*away, 0.5 / 200])  # 0 has no logit: half an image
    assert shift.trend(np.stack([homes, away], 1)) == pytest.approx((0.8, -1))
    assert legend_of(picture.figure) == ["b0", "b1", "b2", "floor", "trend of those that are no baselines"]


def test_robustness_is_by_budget_in_each_norm(made: Callable[[str], Made]) -> None:
    store = made("ood.adversarial")
    store.add("a", {("accuracy", "clean"): 0.9, ("robust_accuracy", "linf-8/255"): 0.1,
                    ("robust_accuracy", "linf-0.25/255"): 0.6, ("robust_accuracy", "l2-0.5"): 0.4})  # fmt: skip
    (picture,) = store.draw(robustness)
    l2, linf = picture.figure.axes
    assert lines(l2)[0] == (pytest.approx([0, 0.5]), [0.9, 0.4])
    assert lines(linf)[0] == (pytest.approx([0, 0.25 / 255, 8 / 255]), [0.9, 0.6, 0.1])
    assert [tick.get_text() for tick in linf.get_xticklabels()] == ["0", "0.25/255", "8/255"]


def ranked(count: int) -> pd.DataFrame:
    columns: dict[str, Any] = {"split": "test", "item": [f"q{row:02}.png" for row in range(count)]}
    for place in range(1, 6):
        columns[f"nearest_{place}"] = [f"g{(row + place) % 7}.png" if place < 5 else "" for row in range(count)]
        columns[f"right_{place}"] = [(row + place) % 3 == 0 and place < 5 for row in range(count)]
    return pd.DataFrame(columns)


def test_a_contact_sheet_shows_the_images_in_order_and_frames_them(made: Callable[[str], Made]) -> None:
    store = made("retrieval")
    table = ranked(40)
    store.add("a", {("mAP", "test"): 0.5}, table)
    asked: list[tuple[str, str]] = []

    def images(role: str, name: str) -> np.ndarray:
        asked.append((role, name))
        return np.zeros((8, 9, 3), np.uint8)

    (picture,) = store.draw(contact_sheet, lambda record: images)
    grid = np.array(picture.figure.axes).reshape(8, 6)
    rows = contact_sheet.chosen(table)
    assert [row["item"] for row in rows] == [f"q{row:02}.png" for row in (0, 6, 11, 17, 22, 28, 33, 39)]
    assert asked == [pair for row in rows for pair in [
        ("query", row["item"]), *(("gallery", row[f"nearest_{place}"]) for place in range(1, 5))]]  # fmt: skip
    for row, panels in zip(rows, grid, strict=True):
        for place in range(1, 5):
            right = panels[place].spines["top"].get_linestyle() == "-"
            assert right == row[f"right_{place}"]
        assert not panels[5].axison  # there was no fifth


def test_missing_images_are_told_once_a_dataset(made: Callable[[str], Made]) -> None:
    store = made("retrieval")
    for name in ("a", "b"):
        store.add(name, {("mAP", "test"): 0.5}, ranked(9))

    def missing(record: Record) -> Any:
        raise FileNotFoundError("no file d.zip")

    assert store.draw(contact_sheet, missing) == ["retrieval d: no file d.zip"]


@pytest.mark.parametrize("count", [1, 3, pytest.param(20, marks=pytest.mark.slow)])
def test_readable_with_any_number_of_backbones_and_any_names(made: Callable[[str], Made], count: int) -> None:
    names = [*HOSTILE, *(f"timm:model_{place}" for place in range(20))][:count]
    for plot, store in every_plot(made, names).items():
        pictures = [each for each in store.draw(plot) if isinstance(each, Picture)]
        assert len(pictures) == (count if plot is roc else 1)
        for picture in pictures:
            assert png(picture.figure).startswith(b"\x89PNG")
            shown = legend_of(picture.figure)
            if plot in (corruption, robustness):
                assert len(shown) == count
                looks = {
                    (handle.get_color(), handle.get_linestyle()) for handle in picture.figure.legends[0].get_lines()
                }
                assert len(looks) == count
            boxes = [axes.get_window_extent() for axes in picture.figure.axes if axes.axison]
            legend = picture.figure.legends[0].get_window_extent()
            assert all(box.y0 >= legend.y1 and box.width > 40 for box in boxes), "nothing covers anything"


def every_plot(made: Callable[[str], Made], names: list[str]) -> dict[Any, Made]:
    stores = {corruption: made("ood.corruption"), roc: made("ood.detect"), reliability: made("ood.calibration"),
              shift: made("ood.shift"), robustness: made("ood.adversarial")}  # fmt: skip
    for place, name in enumerate(names):
        share = 0.3 + 0.6 * place / max(1, len(names))
        corrupted(stores[corruption], name, 0.5 + share / 2)
        stores[roc].add(name, {}, detected(place))
        stores[reliability].add(name, {("ece", "home"): 0.1, ("scaled_ece", "home"): 0.05}, judged(place, True))
        stores[shift].add(name, {(metric, split): share * scale for split in ("a", "b")
                                 for metric, scale in (("id_top1", 1), ("top1", 0.7))})  # fmt: skip
        budgets = {("robust_accuracy", f"linf-{each}/255"): share * 0.8**each for each in (1, 2, 4, 8)}
        stores[robustness].add(name, {("accuracy", "clean"): share, **budgets})
    return stores


def test_nothing_to_draw_is_no_picture(made: Callable[[str], Made]) -> None:
    store = made("retrieval")
    store.add("a", {("mAP", "test"): 0.5})
    for plot in (contact_sheet, corruption, reliability, robustness, roc, shift):
        assert store.draw(plot) == []


def test_looks_differ_for_twenty_eight() -> None:
    from results.plots.base import look

    found = [(look(place)["color"], look(place)["linestyle"]) for place in range(28)]
    assert len(set(found)) == 28
    assert all(re.fullmatch("#[0-9A-Fa-f]{6}", colour) for colour, _ in found)
    assert all(one != other for one, other in pairwise(found))
