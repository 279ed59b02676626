"""Case 27: names that try to be something else are text, in every format, and never paths."""

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from results.board import board
from results.formats import renderer
from results.store import Store
from results.terminal import print_board

HOSTILE = [
    "<script>document.title='hacked'</script>",
    '"><img src=x onerror="document.title=\'hacked\'">',
    '=HYPERLINK("http://127.0.0.1")',
    " \u200b=1+1",
    "../../outside",
    "two\nlines | and | pipes",
    "x" * 10_000,
    "\u202egnp.exe",
    "[bold red]markup[/]",
    "\\input{/etc/passwd} & 50%",
    "{{ 7 * 7 }}",
]


@pytest.fixture
def records(make: Any) -> list[Any]:
    return [make(name, 0.1 * i, task=name, warnings=[name]) for i, name in enumerate(HOSTILE, start=1)]


def test_html_shows_them_as_text(records: list[Any]) -> None:
    page = renderer("html")(board(records))
    assert "<script>document" not in page
    assert "<img" not in page
    assert "{{ 7 * 7 }}" in page
    assert "\u202e" not in page
    assert "x" * 400 not in page
    assert page.count("<script") == 1, "our own, whose hash is the only one the policy allows"
    assert re.search(r"script-src (&#39;|')sha256-", page)


def test_csv_runs_no_formula_and_keeps_its_shape(records: list[Any]) -> None:
    rows = list(csv.reader(io.StringIO(renderer("csv")(board(records)))))
    assert len({len(row) for row in rows}) == 1
    assert not [cell for row in rows for cell in row if re.match(r"[\s\u200b]*([=@\t\r]|[+-](?![0-9.]))", cell)]


def test_markdown_latex_and_terminal_keep_their_shape(records: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    found = board(records)
    table = [line for line in renderer("markdown")(found).splitlines() if line.startswith("|")]
    assert len(table) == len(HOSTILE) + 2
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    latex = renderer("latex")(found)
    assert "\\input{/etc" not in latex
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in latex.splitlines() if line.endswith("\\\\")}) == 1
    print_board(found)
    assert "[bold" in capsys.readouterr().out, "shown as written, not obeyed"


def test_names_are_never_paths(tmp_path: Path, records: list[Any]) -> None:
    store = Store(tmp_path / "store")
    for record in records:
        store.commit(record)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert sorted(record.cell.backbone for record in store.records()) == sorted(HOSTILE)


def test_a_browser_runs_nothing_of_theirs(tmp_path: Path, records: list[Any]) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    page = tmp_path / "page.html"
    page.write_text(renderer("html")(board(records)))
    shown = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         page.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    assert "<title>Battle of the Backbones: leaderboard</title>" in shown
    assert "hacked" in shown, "the names are shown"
