"""Groups in plans and on the command line, and what is told of a backbone that cannot be loaded."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from backbones import catalogue
from bob import show
from bob.cli import app
from bob.listing import COLUMNS, Filters, lines_of
from bob.show import describe
from tasks.datasets.base import OpenOptions

QUESTION = ["--tasks", "retrieval", "--datasets", "digits#retrieval"]


@pytest.fixture
def small_catalogue(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two in ``few/tiny``, of which one cannot be had, and the only one of ``lost`` that cannot either."""
    (pixels,) = (entry for entry in catalogue.entries() if entry.name == "pixels")
    gone = replace(pixels, name="torchhub:gone", groups=("few/tiny",), status="its address is dead")
    lines = (replace(pixels, groups=("few/tiny",)), gone, replace(gone, name="torchhub:other", groups=("lost",)))
    monkeypatch.setattr(catalogue, "entries", lambda: lines)
    catalogue.groups.cache_clear()
    yield
    monkeypatch.undo()
    catalogue.groups.cache_clear()


def plan(folder: Path, *backbones: str) -> Any:
    asked = [part for name in backbones for part in ("--backbones", name)]
    places = ["--store", str(folder / "store"), "--cache", str(folder / "cache")]
    return CliRunner().invoke(app, ["plan", *asked, *QUESTION, *places])


@pytest.mark.usefixtures("small_catalogue")
def test_plan_expands_groups_and_says_what_they_leave_out(tmp_path: Path) -> None:
    for names in [["group:few/tiny"], ["group:few", "group:few/tiny", "pixels"]]:
        done = plan(tmp_path, *names)
        assert done.exit_code == 0, done.output
        assert "1 cells: 1 to do" in done.output
        assert f"{names[0]} leaves out torchhub:gone: its address is dead" in done.output


@pytest.mark.usefixtures("small_catalogue")
def test_groups_that_give_nothing_are_mistakes_told_together(tmp_path: Path) -> None:
    done = plan(tmp_path, "group:fw", "group:lost", "nothing")
    assert done.exit_code == 2
    assert "error: backbone 'group:fw': unknown group 'fw'; did you mean 'few'?" in done.output
    assert "error: backbone 'group:lost': none of it can be had: torchhub:other: its address is dead" in done.output
    assert "error: backbone 'nothing': unknown backbone" in done.output


def test_tiny_ones_can_be_planned_offline(bob: Any) -> None:
    code, log = bob("plan", "--backbones", "group:tiny", *QUESTION)
    assert code == 0, log
    assert f"{len(catalogue.group('tiny'))} cells" in log


def test_lists_fit_and_filter() -> None:
    everything = lines_of("backbones", "*", Filters())
    assert max(map(len, everything)) <= COLUMNS
    rows = [entry for entry in catalogue.entries() if entry.family == "self-supervised" and entry.parameters <= 25e6]
    chosen = lines_of("backbones", "*", Filters(family="self-supervised", max_params="25M"))
    assert [line.split()[0] for line in chosen[1:] if not line.startswith(" ")] == [entry.name for entry in rows]
    assert any("cannot be had: TorchScript" in line for line in chosen)
    (_, line) = lines_of("backbones", "dinov2-small", Filters())
    assert line.split() == ["timm:vit_small_patch14_dinov2.lvd142m", "22.1M", "self-supervised", "modern/small"]
    (_, line, below) = lines_of("backbones", "data2vec-base", Filters())
    assert line.startswith("huggingface:facebook/data2vec-vision-base ")
    assert below == "    unpinned: main can move; NAME@COMMIT pins it, records hold the commit"
    assert len(lines_of("backbones", "*", Filters(group="tiny"))) == 1 + len(catalogue.group("tiny"))
    assert [line.split()[0] for line in lines_of("groups", "*", Filters())] == list(catalogue.groups())


@pytest.mark.parametrize(
    ("kind", "filters", "message"),
    [
        ("backbones", Filters(family="difusion"), "unknown family 'difusion'; did you mean 'diffusion'"),
        ("backbones", Filters(group="modern/bas"), "did you mean 'modern/base'"),
        ("backbones", Filters(max_params="many"), "'many' is no count; write a number with K, M or B"),
        (
            "backbones",
            Filters(family="diffusion", max_params="1M"),
            "none has at most 1M .* the smallest is diffusers:",
        ),
        ("tasks", Filters(family="diffusion"), "choose among backbones"),
    ],
)
def test_filters_that_mean_nothing(kind: str, filters: Filters, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lines_of(kind, "*", filters)


def test_show_tells_the_catalogues_line_of_what_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*arguments: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(show, "load", no_network)
    text = describe("dinov2-small", OpenOptions())
    assert "name: timm:vit_small_patch14_dinov2.lvd142m\n" in text
    assert "pretraining images: 142M\n" in text
    assert text.endswith("from the catalogue alone: no network")
    with pytest.raises(OSError, match="no network"):
        describe("timm:not_in_the_catalogue", OpenOptions())
