"""Certificates on disk, and the mark of backbones that have none."""

from pathlib import Path
from typing import Any

import pytest

from results.board import board
from results.certificates import FOLDER, CheckRow, certified, issue, keep, subject
from results.formats import words

PREPROCESS = {"size": (224, 224), "mean": (0.5, 0.5, 0.5)}


def checks(*verdicts: bool | None) -> list[CheckRow]:
    return [CheckRow(name=f"check {number}", passed=verdict, seen="x") for number, verdict in enumerate(verdicts)]


@pytest.mark.parametrize(
    ("verdicts", "holds"), [((True, None), True), ((True, False), False), ((None,), False), ((), False)]
)
def test_holds_when_something_passed_and_nothing_failed(
    verdicts: tuple[bool | None, ...], holds: bool, tmp_path: Path
) -> None:
    certificate = issue("a", "0", PREPROCESS, {}, checks(*verdicts))
    assert certificate.holds == holds
    keep(certificate, tmp_path)
    assert certified(tmp_path) == ({subject("0", PREPROCESS)} if holds else set())


def test_a_newer_one_takes_the_place_of_an_older(tmp_path: Path) -> None:
    keep(issue("a", "0", PREPROCESS, {}, checks(True)), tmp_path)
    path = keep(issue("a", "0", PREPROCESS, {}, checks(False)), tmp_path)
    assert not certified(tmp_path)
    assert list(path.parent.iterdir()) == [path]


def test_damaged_renamed_and_foreign_files_certify_nothing(tmp_path: Path) -> None:
    path = keep(issue("a", "0", PREPROCESS, {}, checks(True)), tmp_path)
    (tmp_path / FOLDER / "other.json").write_bytes(path.read_bytes())
    path.write_text(path.read_text()[:-20])
    (tmp_path / FOLDER / "list.json").write_text("[]")
    assert not certified(tmp_path)


def test_other_preprocessing_is_another_subject() -> None:
    assert subject("0", PREPROCESS) == subject("0", {"mean": [0.5, 0.5, 0.5], "size": [224, 224]})
    assert subject("0", PREPROCESS) != subject("0", {**PREPROCESS, "mean": (0.4, 0.5, 0.5)})


def test_rows_without_a_certificate_are_marked(make: Any) -> None:
    records = [make("a", 0.9), make("b", 0.5)]
    one = records[0]
    records[0] = one.model_copy(update={"identity": one.identity.model_copy(update={"weights_sha256": "7"})})
    found = board(records, certificates={subject("7", None)})
    assert [words.backbone(row) for row in found.rows] == ["a", "b °"]
