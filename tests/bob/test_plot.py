"""``bob plot``: what the store has is drawn into files, and what it lacks is said."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from bob import plot
from bob.plot import file_stem, write
from results.plots.base import Picture
from results.store import Store
from tasks.datasets.base import OpenOptions


def test_a_run_is_drawn_and_the_rest_is_told(bob: Any, tiny_plan: Path, tmp_path: Path) -> None:
    code, said = bob("run", str(tiny_plan))
    assert code == 0, said
    code, said = bob("plot", "--output", "pictures")
    assert code == 0, said
    written = [Path(line.removeprefix("wrote ")) for line in said.splitlines() if line.startswith("wrote ")]
    assert len([path for path in written if path.name.startswith("contact_sheet--")]) == 3  # a backbone each
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == sorted(path.name for path in written)
    for path in written:
        with Image.open(tmp_path / path) as image:
            assert min(image.size) > 300
    assert "roc: nothing in the store to draw" in said
    again = bob("plot", "--output", "pictures")[1]
    assert again == said, "the same files, replaced"


def test_an_empty_store_draws_nothing(bob: Any, tmp_path: Path) -> None:
    code, said = bob("plot")
    assert code == 0, said
    assert all(line.endswith("nothing in the store to draw") for line in said.splitlines())
    assert not (tmp_path / "outputs/plots").exists()


def test_a_plot_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(evidence: Any) -> Any:
        yield Picture(("half",), Figure())
        raise ZeroDivisionError("no images")

    def sound(evidence: Any) -> Any:
        yield Picture(("whole",), Figure())

    plots = SimpleNamespace(found={"broken": None, "sound": None}, load={"broken": broken, "sound": sound}.get)
    monkeypatch.setattr(plot, "PLOTS", plots)
    with pytest.raises(plot.PlotsError, match=r"plot 'broken' failed \(ZeroDivisionError: no images\)"):
        list(plot.draw_all(Store(tmp_path / "store"), tmp_path / "pictures", OpenOptions()))
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["broken--half.png", "sound--whole.png"]


def test_changed_data_is_no_contact_sheet(bob: Any, tiny_backbones: list[str], tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    rows = [(f"{role}{label}.png", role, label) for role in ("query", "gallery") for label in "ab"]
    for place, (name, _, _) in enumerate(rows):
        Image.new("RGB", (20, 20), (60 * place, 10, 200)).save(tmp_path / "shop" / name)
    (tmp_path / "shop/index.csv").write_text("path,role,class\n" + "".join(f"{','.join(row)}\n" for row in rows))
    code, said = bob("run", "--backbones", tiny_backbones[0], "--tasks", "retrieval", "--datasets", "retrieval:shop")
    assert code == 0, said
    assert "wrote outputs/plots/contact_sheet--" in bob("plot")[1]
    Image.new("RGB", (20, 20), (1, 2, 3)).save(tmp_path / "shop/querya.png")
    assert "has other contents now than when the record was made; run it again" in bob("plot")[1]
    shutil.rmtree(tmp_path / "shop")
    code, said = bob("plot")
    assert code == 0
    assert "contact_sheet: not drawn: retrieval retrieval:shop: " in said


def test_names_are_never_paths_and_stay_apart(tmp_path: Path) -> None:
    hostile = ["../../outside", "/etc/passwd", "a\nb", "x" * 5000, "..", "", "-rf", "con/..", "a b", "a-b", "\u202egnp"]
    stems = {file_stem("roc", name) for name in hostile}
    assert len(stems) == len(hostile)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._=,-]{0,200}", stem) for stem in stems)
    for name in hostile:
        assert write(Picture((name,), Figure()), "roc", tmp_path / "pictures").parent == tmp_path / "pictures"
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = write(Picture(("a",), Figure()), "roc", tmp_path)
    before = path.read_bytes()

    class Broken(Figure):
        def savefig(self, fname: Any, **settings: Any) -> None:
            Path(fname).write_bytes(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write(Picture(("a",), Broken()), "roc", tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before
