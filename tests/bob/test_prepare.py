"""``bob prepare``: everything fetched and looked at before anything is queued, and nothing else written."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bob.prepare import fetch_tokenizers, needs

CALLS_HOME = """
import socket
def calls():
    socket.getaddrinfo("localhost", 80)
    return one()
"""


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in (folder / "outputs").rglob("*") if path.is_file()}


@pytest.mark.slow
def test_what_is_here_is_told_and_only_caches_are_written(bob: Any, tiny_plan: Path) -> None:
    code, told = bob("prepare", str(tiny_plan), "--no-proof")
    assert code == 0, told
    assert "dataset   digits  1,797 images  manifest " in told
    assert told.count("backbone  ") == 3
    assert f"nodes must see  {bob.folder}/outputs/cache" in told
    assert f"nodes must see  {bob.folder}\n" in told
    assert "HF_HUB_OFFLINE=1" in told
    assert "not tried without a network" in told
    prepared = files(bob.folder)
    assert prepared
    assert all(name.startswith("outputs/cache/datasets/") for name in prepared)
    before = {name: (bob.folder / name).read_bytes() for name in prepared}
    assert bob("run", str(tiny_plan))[0] == 0
    assert all((bob.folder / name).read_bytes() == content for name, content in before.items())
    written = {name for name in files(bob.folder) if name.startswith("outputs/cache/datasets/")}
    assert written == prepared  # a run finds what it would else have looked at itself


def test_all_mistakes_of_plan_and_profile_at_once(bob: Any, tiny_plan: Path) -> None:
    tiny_plan.write_text(
        "backbones: [pixls, 'file:nothing.py:one']\ntasks:\n  - {task: retrieval, dataset: 'images:nowhere'}\n"
    )
    (bob.folder / "cluster.yaml").write_text("paralel: 3\ntasks: {retrievel: {}}\n")
    for command in ("prepare", "plan"):
        code, told = bob(command, str(tiny_plan), "--profile", "cluster.yaml")
        assert code == 2
        wrong = [line for line in told.splitlines() if line.startswith("error: ")]
        for word in ("'paralel'", "'retrievel'", "'pixls'", "nothing.py", "nowhere"):
            assert sum(word in line for line in wrong) == 1, told
        assert len(wrong) == 5
    assert bob("prepare", "nothing.yaml", "--profile", "cluster.yaml")[1].count("error: ") == 3
    assert files(bob.folder) == set()


@pytest.mark.slow
def test_what_asks_the_network_as_it_loads_is_found_out(bob: Any, tiny_plan: Path) -> None:
    """One of two backbones asks for an address, which it gets here and not where the network is refused."""
    mine = bob.folder / "mine.py"
    mine.write_text(mine.read_text() + CALLS_HOME)
    tiny_plan.write_text(
        "backbones: ['file:mine.py:one', 'file:mine.py:calls']\n"
        "tasks:\n  - {task: retrieval, dataset: 'digits#retrieval'}\n"
    )
    assert bob("prepare", str(tiny_plan), "--no-proof")[0] == 0
    code, told = bob("prepare", str(tiny_plan))
    assert code == 2
    (wrong,) = [line for line in told.splitlines() if line.startswith("error: ")]
    assert wrong.startswith("error: without a network: backbone 'file:mine.py:calls'")
    assert "no network here" in wrong


class Reads:
    """A backbone that reads texts, if its words could be had."""

    logit_scale = 1.0

    def __init__(self, has_words: bool) -> None:
        self.has_words, self.asked = has_words, 0

    def embed_text(self, prompts: Any) -> Any:
        raise AssertionError("no text is computed")

    def overlong(self, prompts: Any) -> list[str]:
        self.asked += 1
        if not self.has_words:
            raise OSError("cannot fetch the tokenizer")
        return []


def asked(name: str, texts: bool, refusal: str | None = None) -> Any:
    question = SimpleNamespace(task=SimpleNamespace(texts=texts), names={"dataset": ("images:/far/away#train",)})
    return SimpleNamespace(loaded_as=name, refusal=refusal, question=question)


def test_tokenizers_are_fetched_where_texts_are_asked() -> None:
    there: dict[str, Any] = {"has": Reads(True), "lacks": Reads(False), "unasked": Reads(False), "images": object()}
    roster: Any = SimpleNamespace(get=there.__getitem__)
    cells = [asked("has", True), asked("lacks", True), asked("unasked", False), asked("images", True, "no text")]
    assert fetch_tokenizers([*cells, *cells], roster) == ["backbone 'lacks': cannot fetch the tokenizer"]
    assert [there[name].asked for name in ("has", "lacks", "unasked")] == [1, 1, 0]


def test_jobs_need_the_variables_that_are_set_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    lines = list(needs([asked("checkpoint:/weights/a.yaml", False)], [tmp_path / "cache", tmp_path / "cache"]))
    assert f"TORCH_HOME={tmp_path}" in lines[0]
    assert lines.count(f"nodes must see  {tmp_path / 'cache'}") == 1
    assert "nodes must see  /weights/a.yaml" in lines
    assert "nodes must see  /far/away" in lines
