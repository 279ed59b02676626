import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError

from results.record import DamageError, Failure, Identity, Record, SchemaError


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
    monkeypatch.setattr("results.record.READ_VERSIONS", (5, 6))
    with pytest.raises(SchemaError, match="schema 4, this release reads 5 and 6"):
        Record.from_json(text)


def test_a_record_of_schema_1_still_loads(make: Any) -> None:
    """As the release before wrote it: without the preprocessing, and with its own digest."""
    body = json.loads(make().to_json())
    del body["digest"], body["identity"]["preprocess"]
    body["schema_version"] = 1
    text = json.dumps(body, sort_keys=True)
    old = Record.from_json(f'{text[:-1]}, "digest": "{hashlib.sha256(text.encode()).hexdigest()}"}}')
    assert old == make()
    assert old.identity.preprocess is None
    assert Record.from_json(old.to_json()) == old


def test_a_failure_of_schema_2_still_loads(make: Any) -> None:
    """As the release before wrote it: a failure without a step."""
    body = json.loads(make(failed=True).to_json())
    del body["digest"], body["error"]["step"]
    body["schema_version"] = 2
    text = json.dumps(body, sort_keys=True)
    old = Record.from_json(f'{text[:-1]}, "digest": "{hashlib.sha256(text.encode()).hexdigest()}"}}')
    assert old == make(failed=True)
    assert old.failure() == "failed: ValueError"


def test_a_record_of_schema_3_still_loads(make: Any) -> None:
    """As the release before wrote it: its provenance says nothing of code, node and job."""
    body = json.loads(make().to_json())
    for name in ("code", "node", "job"):
        del body["provenance"][name]
    del body["digest"]
    body["schema_version"] = 3
    text = json.dumps(body, sort_keys=True)
    old = Record.from_json(f'{text[:-1]}, "digest": "{hashlib.sha256(text.encode()).hexdigest()}"}}')
    assert old == make()
    assert old.provenance.code == ""


def test_divergence_names_its_step(make: Any) -> None:
    error = Failure(kind="Diverged", message="nan", traceback="", step=12)
    diverged = make(failed=True, status="diverged", error=error)
    assert Record.from_json(diverged.to_json()) == diverged
    assert diverged.failure() == "diverged at step 12"
    for status, step in (("diverged", None), ("failed", 12)):
        with pytest.raises(ValidationError, match="names the step"):
            make(failed=True, status=status, error=error.model_copy(update={"step": step}))
    with pytest.raises(ValidationError, match="has no error"):
        make(failed=True, status="done", error=error)


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


def test_a_setting_names_what_is_learnt_from_first(make: Any) -> None:
    sets = {"near": ["n"], "validation": ["v"], "train": ["t"], "far": ["f"]}
    cell = make().cell.model_copy(update={"datasets": sets})
    assert cell.setting() == "retrieval t > v > n > f"
    index = cell.model_copy(update={"datasets": {"gallery": ["g"], "query": ["q"]}})
    assert index.setting() == "retrieval q > g"


def test_changes_are_named() -> None:
    old = Identity(
        weights_sha256="a" * 64,
        manifests={"x": "1", "y": "2"},
        protocol_version=1,
        precision="float32",
        preprocess={"size": [224, 224], "crop": "center"},
    )
    new = Identity(
        weights_sha256="b" * 64,
        manifests={"x": "1", "y": "3"},
        protocol_version=2,
        precision="bfloat16",
        preprocess={"size": (256, 256), "crop": "center"},
    )
    assert new.changes_from(old) == [
        "weights or their code changed (aaaaaaaa -> bbbbbbbb)",
        "dataset y has other contents (2 -> 3): it changed, or is another of that name",
        "preprocessing size [224, 224] -> [256, 256]",
        "protocol version 1 -> 2",
        "precision float32 -> bfloat16",
    ]
    assert old.changes_from(old) == []
    older = old.model_copy(update={"preprocess": None})
    assert old.changes_from(older) == older.changes_from(old) == []
