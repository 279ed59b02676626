"""Bars on a terminal show how far a training is, and what it says beside that."""

import io
import sys

import pytest

from bob.progress import Progress


def test_a_bar_with_its_detail(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with Progress() as progress:
        progress.advance("images", 1, 3)
        progress.advance("steps", 1, 10, "loss 2.31 [bold]")
        progress.advance("steps", 2, 10, "loss 1.75 [bold]")
        progress.advance("images", 3, 3)
        progress._bars.refresh()
        shown = terminal.getvalue().rpartition("steps")[2]
        assert "2/10" in shown
        assert "loss 1.75 [bold]" in shown
        assert len(progress._shown) == 1
