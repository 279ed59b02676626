import csv
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bob.cli import app
from results.foreign import TableError, foreign_tables, keep, read_csv, read_table
from results.inspection import inspect
from results.merging import merge
from results.record import DamageError
from results.store import Store

HEAD = "backbone,setting,metric,value,source\n"


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_figures_are_kept_once_and_as_they_were(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.csv", f"{HEAD}clip,retrieval cub,mrr,0.666829,a paper\nmoco,retrieval cub,mrr,1e-3,a paper\n"
    )
    table = read_csv(path)
    assert [(f.backbone, f.value) for f in table.figures] == [("clip", 0.666829), ("moco", 0.001)]
    assert keep(table, tmp_path / "store")
    assert not keep(read_csv(path.rename(tmp_path / "b.csv")), tmp_path / "store")
    assert list(foreign_tables(tmp_path / "store")) == [table]


def test_task_and_dataset_are_a_setting(tmp_path: Path) -> None:
    text = "\ufeffbackbone,task,dataset,metric,value,source\nclip,retrieval,CUB-200-2011,mrr,0.5,a paper\n"
    assert read_csv(written(tmp_path / "a.csv", text)).figures[0].setting == "retrieval CUB-200-2011"


def test_all_mistakes_are_told(tmp_path: Path) -> None:
    lines = ["clip,r,mrr,high,s", "clip,r,mrr,nan,s", ",r,mrr,1,s", "clip,r,mrr,1,", "clip,r,mrr,1,s", "clip,r,mrr,2,s"]
    with pytest.raises(TableError) as error:
        read_csv(written(tmp_path / "a.csv", HEAD + "\n".join(lines)))
    told = [line.partition("a.csv, ")[2] for line in error.value.lines]
    assert told == [
        "line 2: 'high' is no number", "line 3: 'nan' is no number", "line 4: no backbone", "line 5: no source",
        "line 7: 'clip' has another value above, 1.0",
    ]  # fmt: skip
    with pytest.raises(TableError, match=r"no column value\n.*no column source\n.*no column setting"):
        read_csv(written(tmp_path / "a.csv", "backbone,metric\n"))
    with pytest.raises(TableError, match="no figures"):
        read_csv(written(tmp_path / "a.csv", HEAD))
    with pytest.raises(TableError, match="field larger"):
        read_csv(written(tmp_path / "a.csv", HEAD + "x" * 200_000))
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(TableError, match="UTF-8"):
        read_csv(tmp_path / "a.csv")


def test_a_changed_figure_is_found_and_not_shown(tmp_path: Path) -> None:
    keep(read_csv(written(tmp_path / "a.csv", f"{HEAD}clip,r,mrr,0.5,s\n")), tmp_path / "store")
    (path,) = (tmp_path / "store" / "foreign").iterdir()
    path.write_text(path.read_text().replace("0.5", "0.9"))
    with pytest.raises(DamageError, match="changed"):
        read_table(path)
    assert list(foreign_tables(tmp_path / "store")) == []
    assert [fault.path for fault in inspect(tmp_path / "store", repair=True).faults] == [path]
    assert inspect(tmp_path / "store").faults == []


def test_it_is_merged_and_ranked_nowhere(tmp_path: Path, make: Any) -> None:
    source, target = tmp_path / "source", Store(tmp_path / "target")
    Store(source).commit(make())
    keep(read_csv(written(tmp_path / "a.csv", f"{HEAD}timm:one,retrieval digits,mAP,0.9,s\n")), source)
    assert merge(source, target).counts == {"added": 1, "foreign tables": 1}
    assert merge(source, target).counts == {"there already": 1, "foreign tables there already": 1}
    said = CliRunner().invoke(app, ["leaderboard", "--store", str(target.root), "--format", "csv"]).output
    assert len(said.strip().splitlines()) == 2
    assert "0.9" not in said


def test_hostile_names_keep_the_table_in_shape(tmp_path: Path, make: Any) -> None:
    Store(tmp_path / "store").commit(make())
    names = ["<script>", "a|b", "two\nlines", "\u202egnp", "=1+1", "x" * 5000]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HEAD.strip().split(","), *([n, n, "m", 1, n] for n in names)])
    ask = ["--store", str(tmp_path / "store")]
    assert CliRunner().invoke(app, ["import", str(tmp_path / "a.csv"), *ask]).exit_code == 0
    board, _, below = CliRunner().invoke(app, ["leaderboard", *ask]).output.partition("Published elsewhere")
    assert board
    lines = [line for line in below.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(names)
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert "\u202e" not in below
    assert "<script>" not in below.replace("\\<script\\>", "")


def test_the_2023_retrieval_table(tmp_path: Path, make: Any) -> None:
    path = Path(os.environ.get("BOB_DATA", "nowhere")) / "published" / "bob2023_retrieval_mrr.csv"
    if not path.exists():
        pytest.skip("no BOB_DATA with the published table")
    Store(tmp_path).commit(make())
    told = CliRunner().invoke(app, ["import", str(path), "--store", str(tmp_path)])
    assert "264 figures of 33 backbones: kept as foreign" in told.output
    below = (
        CliRunner().invoke(app, ["leaderboard", "--store", str(tmp_path)]).output.partition("Published elsewhere")[2]
    )
    assert len([line for line in below.splitlines() if line.startswith("| †")]) == 33
    assert "hsouri/bob-retrieval@9db15f5" in below
