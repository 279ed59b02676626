"""Case 22: a number that is not finite is written as null with a reason; files stay valid JSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.board import board
from results.formats import renderer
from results.record import Record, ScoreRow
from results.store import Store


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_null_and_a_reason(tmp_path: Path, make: Any, value: float) -> None:
    row = ScoreRow(metric="mAP", split="test", value=value, low=value, high=1.0)
    record = make(scores=[row], notes={"loss": value, "half": np.float16(0.5), "array": np.array([1.0, value])})
    store = Store(tmp_path)
    store.commit(record)
    text = (tmp_path / "cells" / record.key / "record.json").read_text()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    body = json.loads(text, parse_constant=refuse)
    assert body["scores"][0]["value"] is None
    assert str(value) in body["scores"][0]["reason"]
    assert body["notes"] == {"loss": None, "half": 0.5, "array": [1.0, None]}
    assert Record.from_json(text).headline_row() == record.headline_row()
    found = board([record, make("other", 0.5)])
    assert {r.backbone: r.entries[0].status for r in found.rows} == {"timm:one": "failed", "other": "done"}
    json.loads(renderer("json")(found), parse_constant=refuse)
