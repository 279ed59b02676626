import json
from typing import Any

import pytest
from pydantic import ValidationError

from results.record import DamageError, Identity, Record, SchemaError


def test_round_trip(make: Any) -> None:
    record = make(notes={"strength": 0.1, "list": [1, "two", None]}, warnings=["a"])
    assert Record.from_json(record.to_json()) == record


@pytest.mark.parametrize(
    ("part", "edit"), [("mAP", "mAQ"), ('"seed": 0', '"seed": 1'), ('"value": 0.5', '"value": 0.9')]
)
def test_an_edited_record_is_refused(make: Any, part: str, edit: str) -> None:
    text = make().to_json()
    assert part in text
    with pytest.raises(DamageError, match="digest"):
        Record.from_json(text.replace(part, edit))


def test_another_schema_is_refused_by_its_version(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = make().to_json()
    monkeypatch.setattr("results.record.SCHEMA_VERSION", 2)
    with pytest.raises(SchemaError, match="schema 1, this release reads 2"):
        Record.from_json(text)


def test_it_is_json(make: Any) -> None:
    assert json.loads(make().to_json())["cell"]["task"] == "retrieval"


def test_unknown_fields_are_refused(make: Any) -> None:
    with pytest.raises(ValidationError):
        Record(**{**make().model_dump(), "typo": 1})


def test_a_failure_needs_its_error_(make: Any) -> None:
    with pytest.raises(ValidationError, match="needs an"):
        make(status="failed")


def test_address_and_setting(make: Any) -> None:
    one, again, other = make().cell, make(value=0.9).cell, make(seed=1).cell
    assert one.address() == again.address() != other.address()
    assert one.setting() == other.setting() == "retrieval digits"


def test_changes_are_named() -> None:
    old = Identity(weights_sha256="a", manifests={"x": "1", "y": "2"}, protocol_version=1, precision="float32")
    new = Identity(weights_sha256="b", manifests={"x": "1", "y": "3"}, protocol_version=2, precision="bfloat16")
    assert new.changes_from(old) == [
        "weights changed", "dataset y changed", "protocol version 1 -> 2", "precision float32 -> bfloat16",
    ]  # fmt: skip
    assert old.changes_from(old) == []
