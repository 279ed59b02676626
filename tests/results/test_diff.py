import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bob.cli import app
from results.changes import CIRCUMSTANCES, NUMBER, changes, headline_difference, score_changes, seed_spread
from results.lookup import find_record
from results.store import Store


def identified(record: Any, **changes: Any) -> Any:
    return record.model_copy(update={"identity": record.identity.model_copy(update=changes)})


def asked(record: Any, **changes: Any) -> Any:
    return record.model_copy(update={"cell": record.cell.model_copy(update=changes)})


def run(store: Path, one: str, other: str) -> Any:
    return CliRunner().invoke(app, ["diff", one, other, "--store", str(store)])


CHANGES = {
    "weights": (lambda r: identified(r, weights_sha256="b" * 64), "weights hash 0 -> bbbbbbbbbbbb"),
    "preprocessing": (lambda r: identified(r, preprocess={"size": 256}), "preprocessing size 224 -> 256"),
    "data": (lambda r: identified(r, manifests={"digits": "2"}), "data contents of digits 1 -> 2"),
    "protocol": (lambda r: identified(r, protocol_version=2), "protocol version 1 -> 2"),
    "settings": (lambda r: asked(r, settings={"k": 5}), "settings k unset -> 5"),
    "precision": (lambda r: identified(r, precision="bfloat16"), "precision arithmetic float32 -> bfloat16"),
    "seed": (lambda r: asked(r, seed=3), "seed number 0 -> 3"),
}


def test_each_aspect_is_named_and_no_other(make: Any) -> None:
    record = identified(make(), preprocess={"size": 224})
    assert changes(NUMBER, record, record) == {}
    for aspect, (change, told) in CHANGES.items():
        assert changes(NUMBER, record, change(record)) == {aspect: [told]}


def test_all_at_once_they_come_in_order(make: Any) -> None:
    record = other = identified(make(), preprocess={"size": 224})
    for aspect in reversed(CHANGES):
        other = CHANGES[aspect][0](other)
    assert list(changes(NUMBER, record, other)) == list(CHANGES)


def test_preprocessing_that_an_old_record_does_not_hold_is_no_difference(make: Any) -> None:
    assert changes(NUMBER, make(), identified(make(), preprocess={"size": 1})) == {}


def test_circumstances(make: Any) -> None:
    record = make()
    later = {"packages": {"torch": "2.9"}, "commit": "d" * 40, "hardware": {"gpus": "8 x H200"}, "node": "node1"}
    other = record.model_copy(
        update={
            "provenance": record.provenance.model_copy(update=later),
            "cost": record.cost.model_copy(update={"seconds": 2.5}),
        }
    )
    assert changes(NUMBER, record, other) == {}
    assert changes(CIRCUMSTANCES, record, other) == {
        "versions": ["versions torch unset -> 2.9"],
        "code": ["code commit c -> dddddddddddd"],
        "hardware": ["hardware node unknown -> node1", "hardware gpus unset -> 8 x H200"],
        "cost": ["cost seconds 1.0 -> 2.5"],
    }


def test_scores_and_their_differences(make: Any) -> None:
    one, other = make(value=0.5), make(value=0.625)
    extra = one.scores[0].model_copy(update={"metric": "P@1"})
    broken = extra.model_copy(update={"value": None, "reason": "nan"})
    one = one.model_copy(update={"scores": [extra, *one.scores]})
    assert score_changes(one, other) == ["mAP (test): 0.5 -> 0.625 (+0.125)", "P@1 (test): 0.5 -> none"]
    other = other.model_copy(update={"scores": [broken, *other.scores]})
    assert score_changes(one, other)[1] == "P@1 (test): 0.5 -> no number (nan)"
    assert score_changes(one, one)[0] == "mAP (test): 0.5, the same"


def test_only_numbers_of_one_task_have_a_difference(make: Any) -> None:
    one = make(value=0.5)
    assert headline_difference(one, make(value=0.25)) == -0.25
    assert headline_difference(one, make(value=0.25, task="classification.knn")) is None
    assert headline_difference(one, make(failed=True)) is None


def test_the_spread_over_seeds_is_the_pooled_deviation(make: Any) -> None:
    """As analysis of variance has it: the mean square within groups."""
    drawn = np.random.default_rng(0).normal(0.5, 0.01, (3, 4))
    records = [make(f"{b}", value, seed=s) for b, values in enumerate(drawn) for s, value in enumerate(values)]
    lone = make("lone", 0.9)
    changed = [identified(make("0", 0.9, seed=9), weights_sha256="other")]
    spread = seed_spread([*records, lone, *changed], "mAP")
    assert spread is not None
    assert spread.deviation == pytest.approx(math.sqrt(drawn.var(axis=1, ddof=1).mean()), rel=1e-12)
    assert (spread.groups, spread.records) == (3, 12)
    assert seed_spread([lone, *changed], "mAP") is None
    assert seed_spread(records, "P@1") is None
    assert f"{math.sqrt(2) * spread.deviation:.2g} in mAP" in spread.told("mAP", None)
    assert "differ by 2.0 times that" in spread.told("mAP", -2 * math.sqrt(2) * spread.deviation)


def test_the_command_tells_the_first_difference_and_what_seeds_do(tmp_path: Path, make: Any) -> None:
    store = Store(tmp_path)
    one, half = make(value=0.5), identified(make(value=0.7, created="2026-03-01"), precision="bfloat16")
    for record in (one, half):
        store.commit(record)
    told = run(tmp_path, one.key, half.key[:10])
    assert told.exit_code == 1
    assert "first difference: precision" in told.output
    assert "mAP (test): 0.5 -> 0.7 (+0.2)" in told.output
    assert "not known" in told.output
    store.commit(make(value=0.6, seed=1))
    told = run(tmp_path, one.key, half.key)
    assert "usually differ by 0.1 in mAP" in told.output
    assert "these two differ by 2.0 times that" in told.output
    same = run(tmp_path, one.key, one.key)
    assert (same.exit_code, "nothing that makes the number differs" in same.output) == (0, True)


def test_two_answers_to_one_key_are_compared(tmp_path: Path, make: Any) -> None:
    store, record = Store(tmp_path), make(value=0.5)
    store.commit(record)
    other = record.model_copy(update={"scores": make(value=0.6).scores})
    store.commit_beside(other, {})
    (name,) = (path.name for path in (tmp_path / "conflicts").iterdir())
    told = run(tmp_path, record.key[:8], name)
    assert told.exit_code == 0
    assert "mAP (test): 0.5 -> 0.6 (+0.1)" in told.output


def test_a_failure_is_compared_too(tmp_path: Path, make: Any) -> None:
    store, record, failed = Store(tmp_path), make(), make("timm:two", failed=True)
    store.commit(record)
    store.fail(failed)
    told = run(tmp_path, record.key, failed.key)
    assert told.exit_code == 1
    assert "failed: ValueError" in told.output
    assert "mAP (test): 0.5 -> none" in told.output


def test_what_is_meant_must_be_one(tmp_path: Path, make: Any) -> None:
    store = Store(tmp_path)
    alike = [make(f"timm:{i}").model_copy(update={"key": f"abcd{i}" * 8}) for i in range(10)]
    for record in alike:
        store.commit(record)
    assert find_record(tmp_path, "abcd3") == alike[3]
    for name, why in [
        ("abcd", "10 keys begin with abcd:\n  abcd0"),
        ("ffff", "no record in"),
        ("../x", "is no key"),
        ("abc", "is no key"),
    ]:
        with pytest.raises(ValueError, match=why):
            find_record(tmp_path, name)
    (tmp_path / "cells" / alike[3].key / "record.json").write_bytes(b"{")
    assert run(tmp_path, "abcd3", "abcd4").exit_code == 2
    assert (tmp_path / "cells" / alike[3].key).exists(), "to look is not to move"


def test_hostile_names_stay_on_their_line(tmp_path: Path, make: Any) -> None:
    store, one, other = Store(tmp_path), make("\x1b[2J\nevil\u202e"), make("timm:two")
    store.commit(one)
    store.commit(other)
    told = run(tmp_path, one.key, other.key)
    assert told.exit_code == 1
    assert not {"\x1b", "\u202e"} & set(told.output)
    assert "evil" not in [line[:4] for line in told.output.splitlines()]
