"""Gates: what is quarantined and what is not, and that quarantined numbers are shown and take part in nothing."""

from typing import Any

import pytest

from results.board import board
from results.formats import FORMATS, renderer
from results.gates import quarantined


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


def test_only_its_own_twin_is_a_floor(make: Any) -> None:
    low, high = make("timm:a", 0.4), make("timm:b", 0.9)
    twins = [floor(make, "random:timm:b", 0.5), floor(make, "random:timm:b@1", 0.85)]
    found = quarantined([low, high, *twins])
    assert list(found) == [high.key]
    assert "random:timm:b@1" in found[high.key]
    assert not quarantined([low, floor(make, "random:timm:ab", 0.9)])


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
    assert {name: row.rank for name, row in rows.items()} == {"a": 1, "c": 2, "pixels": 3, "b": None}
    assert any(line.startswith("quarantined: b") and "pixels" in line for line in found.remarks)
    for name in FORMATS:
        text = renderer(name)(found)
        assert "45" in text
        assert "quarantined" in text or "‡" in text, name
