"""Gates: what is quarantined and what is not, and that quarantined numbers are shown and take part in nothing."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from results.board import board
from results.formats import FORMATS, renderer
from results.gates import quarantined
from results.items import Items
from results.statistics import Z95


def floor(make: Any, name: str, value: float, **changes: Any) -> Any:
    record = make(name, value, baseline=True, **changes)
    family = "pixels" if name == "pixels" else "random"
    return record.model_copy(update={"backbone": record.backbone.model_copy(update={"family": family})})


def features(digest: str, images: str = "i", layer: str = "pooled") -> dict[str, Any]:
    return {"features": [{"sha256": digest, "images": images, "layer": layer}]}


@pytest.mark.parametrize(("value", "caught"), [(0.70, False), (0.61, True), (0.5, True), (0.3, True)])
def test_a_candidate_must_beat_pixels_by_more_than_noise(make: Any, value: float, caught: bool) -> None:
    """Intervals of +-0.1 are standard errors of 0.051 each, so 0.119 is needed."""
    candidate = make("a", value)
    found = quarantined([candidate, floor(make, "pixels", 0.5)])
    assert (candidate.key in found) == caught
    if caught:
        assert "does not beat pixels by more than noise" in found[candidate.key]


def test_a_question_that_says_it_has_no_floor_has_none(make: Any) -> None:
    records = [make("a", 0.3), floor(make, "pixels", 0.5)]
    assert list(quarantined(records)) == [records[0].key]
    noted = [each.model_copy(update={"notes": each.notes | {"no_floor": "because"}}) for each in records]
    assert not quarantined(noted)


def test_only_its_own_twin_is_a_floor(make: Any) -> None:
    low, high = make("timm:a", 0.4), make("timm:b", 0.9)
    twins = [floor(make, "random:timm:b", 0.5), floor(make, "random:timm:b@1", 0.85)]
    found = quarantined([low, high, *twins])
    assert list(found) == [high.key]
    assert "random:timm:b@1" in found[high.key]
    assert not quarantined([low, floor(make, "random:timm:ab", 0.9)])


def items(values: Any, names: Any = None) -> Items:
    names = [f"{number:04}" for number in range(len(values))] if names is None else names
    return Items(pa.array(names), np.asarray(values, float))


def given(records: Any, values: Any) -> Any:
    """``items_of`` that gives each record its own."""
    of = {record.key: each for record, each in zip(records, values, strict=True)}
    return lambda record: of[record.key]


def right(count: int, total: int = 1000) -> Any:
    return np.arange(total) < count


def scored(make: Any, name: str, correct: Any, build: Any = None) -> Any:
    """A record whose interval is that of these items taken alone."""
    value, margin = float(np.mean(correct)), Z95 * float(np.std(correct)) / len(correct) ** 0.5
    record = build(make, name, value) if build else make(name, value)
    row = record.scores[0].model_copy(update={"low": value - margin, "high": value + margin})
    return record.model_copy(update={"scores": [row]})


def test_the_same_items_decide_what_intervals_cannot(make: Any) -> None:
    """500 and 515 of 1000 right: one standard error of independent results is 0.022. Of the same items it is that of
    the 15 which differ, 0.004, when every item pixels has right is right for the candidate too."""
    correct = [right(515), right(500)]
    records = [scored(make, "a", correct[0]), scored(make, "pixels", correct[1], floor)]
    assert "needs 0.037)" in quarantined(records)[records[0].key]
    assert not quarantined(records, given(records, map(items, correct)))


def test_the_same_items_catch_what_intervals_let_pass(make: Any) -> None:
    """One right where the other is wrong: their difference varies by more than that of independent results."""
    correct = [right(520), ~right(520)]
    records = [scored(make, "a", correct[0]), scored(make, "pixels", correct[1], floor)]
    assert not quarantined(records)
    found = quarantined(records, given(records, map(items, correct)))
    assert "0.520 against 0.480, needs 0.052, item by item" in found[records[0].key]


def test_the_paired_gate_is_scipys_test(make: Any) -> None:
    generator, verdicts = np.random.default_rng(0), []
    for _ in range(60):
        hard = generator.normal(size=40)
        mine, theirs = hard + generator.normal(0.1, 0.3, 40), hard + generator.normal(0, 0.3, 40)
        records = [scored(make, "a", mine), scored(make, "pixels", theirs, floor)]
        caught = bool(quarantined(records, given(records, [items(mine), items(theirs)])))
        verdicts.append((caught, stats.ttest_rel(mine, theirs, alternative="greater").pvalue >= 0.05))
    assert all(caught == not_above for caught, not_above in verdicts)
    assert len(set(verdicts)) == 2


def test_lower_is_better_of_the_same_items(make: Any) -> None:
    correct = [right(485), right(500)]
    records = [scored(make, "a", correct[0]), scored(make, "pixels", correct[1], floor)]
    for better, caught in [(False, False), (True, True)]:
        turned = [
            each.model_copy(update={"scores": [each.scores[0].model_copy(update={"higher_is_better": better})]})
            for each in records
        ]
        assert bool(quarantined(turned, given(turned, map(items, correct)))) == caught


def test_seeds_are_averaged_item_by_item(make: Any) -> None:
    """Seeds right on half of the items each, complementary: every item is worth a half, without any spread."""
    halves = [right(500), ~right(500), right(500) & False]
    seeds = [make("a", 0.5), make("a", 0.5, seed=1)]
    records = [*seeds, floor(make, "pixels", 0.49)]
    assert quarantined(records)
    assert not quarantined(records, given(records, map(items, halves)))


@pytest.mark.parametrize("theirs", [None, items(right(500), [f"x{number}" for number in range(1000)])])
def test_other_items_or_none_are_taken_as_independent(make: Any, theirs: Any) -> None:
    records = [scored(make, "a", right(515)), scored(make, "pixels", right(500), floor)]
    assert quarantined(records) == quarantined(records, given(records, [items(right(515)), theirs]))


def test_lower_is_better_and_other_settings_are_other_floors(make: Any) -> None:
    assert not quarantined([make("a", 0.2, higher_is_better=False), floor(make, "pixels", 0.6, higher_is_better=False)])
    assert quarantined([make("a", 0.6, higher_is_better=False), floor(make, "pixels", 0.2, higher_is_better=False)])
    assert not quarantined([make("a", 0.2), floor(make, "pixels", 0.6, task="other")])


def test_floors_and_failed_cells_are_not_held_against_anything(make: Any) -> None:
    assert not quarantined([floor(make, "pixels", 0.6), floor(make, "random:x", 0.1), make("x", failed=True)])


def other_weights(record: Any, weights: str) -> Any:
    return record.model_copy(update={"identity": record.identity.model_copy(update={"weights_sha256": weights})})


def test_bit_identical_features_of_other_weights(make: Any) -> None:
    one = make("a", 0.9, notes=features("same"))
    two = other_weights(make("b", 0.9, notes=features("same")), "1")
    found = quarantined([one, two])
    assert set(found) == {one.key, two.key}
    assert "bit for bit those of b" in found[one.key]


def test_one_model_asked_twice_is_no_surprise(make: Any) -> None:
    records = [make("a", 0.9, notes=features("same")), make("a", 0.8, task="knn", notes=features("same"))]
    assert not quarantined(records)
    assert quarantined([records[0], make("a", 0.8, task="knn", notes=features("same", images="j"))])


def test_suspicions_of_the_record_itself_count(make: Any) -> None:
    record = make("a", 0.9, notes={"suspicions": ["the features have collapsed"]})
    assert quarantined([record]) == {record.key: "the features have collapsed"}


def test_quarantined_cells_are_shown_and_in_no_rank(make: Any) -> None:
    found = board([make("a", 0.9), make("b", 0.45), floor(make, "pixels", 0.5), make("c", 0.7)])
    rows = {row.backbone: row for row in found.rows}
    assert rows["b"].entries[0].status == "quarantined"
    assert rows["b"].entries[0].value == 0.45
    assert {name: row.rank for name, row in rows.items()} == {"a": 1, "c": 2, "pixels": None, "b": None}
    assert any(line.startswith("quarantined: b") and "pixels" in line for line in found.remarks)
    for name in FORMATS:
        text = renderer(name)(found)
        assert "45" in text
        assert "quarantined" in text or "‡" in text, name
