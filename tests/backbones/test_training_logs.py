"""Logs of a training that is stopped at any byte and goes on are those of one that never stopped."""

import csv
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.training.curves import CURVES, draw_curves
from backbones.training.logs import EPOCHS, STEPS, Logs

A_EPOCH = 4


def train(folder: Path, steps: int, resumed: int = 0, evaluated: bool = True) -> None:
    """Rows of a made-up training, which follow from the step alone, gone on with behind a step.

    Where that step ends an epoch, ``evaluated`` says whether the epoch's row was before the checkpoint or is to come.
    """
    with Logs(folder) as logs:
        for step in range(resumed if not evaluated else resumed + 1, steps + 1):
            loss, epoch = 1 / (3 * step), 1 + (step - 1) // A_EPOCH
            if step > resumed:
                logs("step", {"step": float(step), "epoch": epoch, "loss": loss, "learning_rate": 1e-3 * step})
            if step % A_EPOCH == 0:
                logs("epoch", {"epoch": float(epoch), "loss": loss, "val top1": 1 - loss})


def texts(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() if (folder / name).exists() else b"" for name in (STEPS, EPOCHS)}


def test_rows_read_back_to_the_same_bits(tmp_path: Path) -> None:
    train(tmp_path, 9)
    with (tmp_path / STEPS).open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == [str(step) for step in range(1, 10)]
    assert [float(row["loss"]) for row in rows] == [1 / (3 * step) for step in range(1, 10)]
    with (tmp_path / EPOCHS).open() as file:
        assert [(row["step"], row["epoch"]) for row in csv.DictReader(file)] == [("4", "1"), ("8", "2")]


@pytest.fixture
def csv_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As without TensorBoard; and thousands of files need not reach the disk."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.mark.usefixtures("csv_only")
def test_torn_at_every_byte_and_gone_on_with(tmp_path: Path) -> None:
    """Every length a kill can leave of the steps' file, gone on with from its first, middle and last step."""
    train(tmp_path / "whole", 9)
    expected = texts(tmp_path / "whole")
    for length in range(len(expected[STEPS]) + 1):
        torn = expected[STEPS][:length]
        last = max(0, torn.count(b"\n") - 1)
        for resumed in sorted({0, last // 2, last}):
            folder = tmp_path / "torn"
            folder.mkdir(exist_ok=True)
            (folder / STEPS).write_bytes(torn)
            (folder / EPOCHS).write_bytes(expected[EPOCHS])
            train(folder, 9, resumed)
            assert texts(folder) == expected, (length, resumed)
    assert not list(tmp_path.rglob("events*"))


@pytest.mark.usefixtures("csv_only")
@pytest.mark.parametrize("evaluated", [True, False])
def test_an_epochs_file_torn_at_every_byte(tmp_path: Path, evaluated: bool) -> None:
    """A checkpoint at an epoch's end may be of before its evaluation or of after it."""
    train(tmp_path / "whole", 9)
    expected = texts(tmp_path / "whole")
    for length in range(len(expected[EPOCHS]) + 1):
        train(tmp_path / "torn", 9)
        (tmp_path / "torn" / EPOCHS).write_bytes(expected[EPOCHS][:length])
        whole_epochs = max(0, expected[EPOCHS][:length].count(b"\n") - 1)
        resumed = A_EPOCH * whole_epochs if evaluated else min(A_EPOCH * (whole_epochs + 1), 8)
        train(tmp_path / "torn", 9, resumed, evaluated)
        assert texts(tmp_path / "torn") == expected, (length, resumed)


@pytest.mark.usefixtures("csv_only")
def test_a_torn_row_of_epoch_ten_is_not_taken_for_one_of_epoch_one(tmp_path: Path) -> None:
    train(tmp_path / "whole", 41)
    expected = texts(tmp_path / "whole")
    begin = expected[EPOCHS].index(b"\n40,10,") + 1
    for length in range(begin, len(expected[EPOCHS])):
        train(tmp_path / "torn", 41)
        (tmp_path / "torn" / EPOCHS).write_bytes(expected[EPOCHS][:length])
        train(tmp_path / "torn", 41, 40, evaluated=False)
        assert texts(tmp_path / "torn") == expected, length


@pytest.mark.parametrize("spoiled", [b"\0" * 30 + b"\n", b"1\n", b"\n"])
def test_what_a_power_cut_left_is_cut(tmp_path: Path, spoiled: bytes) -> None:
    train(tmp_path / "whole", 9)
    train(tmp_path / "cut", 6)
    with (tmp_path / "cut" / STEPS).open("ab") as file:
        file.write(spoiled)
    train(tmp_path / "cut", 9, 6)
    assert texts(tmp_path / "cut") == texts(tmp_path / "whole")


def test_rows_survive_kill_9(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        logs = Logs(tmp_path)
        for step in range(1, 1_000_000):
            logs("step", {"step": step, "epoch": 1, "loss": 1.0})
            (tmp_path / "said").write_text(str(step))
        os._exit(0)
    end = time.monotonic() + 30
    while not (tmp_path / "said").exists() or int((tmp_path / "said").read_text() or 0) < 50:
        assert time.monotonic() < end
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    said = int((tmp_path / "said").read_text() or 0)
    lines = (tmp_path / STEPS).read_text().splitlines()
    assert len(lines) - 1 >= said >= 0
    assert lines[1:51] == [f"{step},1,1.0" for step in range(1, 51)]


def test_the_first_step_begins_anew(tmp_path: Path) -> None:
    train(tmp_path, 9)
    train(tmp_path, 1)
    assert (tmp_path / STEPS).read_text() == f"step,epoch,loss,learning_rate\n1,1,{1 / 3},0.001\n"
    assert (tmp_path / EPOCHS).read_text() == ""


def test_another_row_is_refused_by_its_names(tmp_path: Path) -> None:
    with Logs(tmp_path) as logs:
        logs("step", {"step": 1, "epoch": 1, "loss": 2.0})
        with pytest.raises(ValueError, match=r"steps\.csv has the columns .*'loss'\]; this row has .*'lost'"):
            logs("step", {"step": 2, "epoch": 1, "lost": 2.0})
    with Logs(tmp_path) as logs, pytest.raises(ValueError, match="every row has the same"):
        logs("step", {"step": 2, "epoch": 1, "lost": 2.0})


def test_nothing_is_written_before_the_first_row(tmp_path: Path) -> None:
    with Logs(tmp_path / "logs"):
        pass
    assert not (tmp_path / "logs").exists()


def test_tensorboard_shows_each_step_once_after_a_resume(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(tmp_path, 9)
    train(tmp_path, 12, 6)
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == {"step/loss", "step/learning_rate", "epoch/loss", "epoch/val top1"}
    losses = events.Scalars("step/loss")
    assert [each.step for each in losses] == list(range(1, 13))
    np.testing.assert_allclose([each.value for each in losses], [1 / (3 * step) for step in range(1, 13)], rtol=1e-6)


def test_curves_have_a_panel_a_number(tmp_path: Path) -> None:
    train(tmp_path, 40)
    before = texts(tmp_path)
    assert draw_curves(tmp_path) == tmp_path / CURVES
    with Image.open(tmp_path / CURVES) as picture:
        assert picture.format == "PNG"
        assert picture.size == (1440, 360)  # loss, learning_rate and val top1 side by side
        pixels = np.asarray(picture.convert("L"))
    for panel in np.split(pixels, 3, axis=1):
        assert (panel < 200).mean() > 0.005
    assert texts(tmp_path) == before


def test_nothing_to_draw(tmp_path: Path) -> None:
    assert draw_curves(tmp_path) is None
    (tmp_path / STEPS).write_text("")
    assert draw_curves(tmp_path) is None
    assert not (tmp_path / CURVES).exists()


def test_a_loss_that_is_not_a_number_is_drawn_as_a_gap(tmp_path: Path) -> None:
    with Logs(tmp_path) as logs:
        for step, loss in enumerate([1.0, float("nan"), float("inf"), 0.5], start=1):
            logs("step", {"step": step, "epoch": 1, "loss": loss})
    assert draw_curves(tmp_path) is not None
