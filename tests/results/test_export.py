import csv
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from huggingface_hub.repocard_data import model_index_to_eval_results
from typer.testing import CliRunner

from bob.cli import app
from results.board import board
from results.formats import size_classes
from results.record import ScoreRow
from results.store import Store
from results.tidy import Row

HOSTILE = [
    '=HYPERLINK("http://127.0.0.1")',
    " \u200b=1+1",
    "two\nlines, and commas",
    "\\input{/etc/passwd} & 50%",
    "+1",
]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["export", *arguments])


def sized(make: Any, millions: float, value: float, name: str = "", **changes: Any) -> Any:
    record = make(name or f"timm:{millions:g}m_{value:g}", value, **changes)
    facts = record.backbone.model_copy(update={"parameters": int(millions * 1e6)})
    return record.model_copy(update={"backbone": facts})


@pytest.fixture
def store(tmp_path: Path, make: Any) -> Path:
    """Two scores of one record, an older answer to the same question, a number that is none, a failure."""
    root = Store(tmp_path / "store")
    new = make("timm:one", 0.75, created="2026-02-01T00:00:00+00:00")
    other = ScoreRow(metric="nll", split="val", value=None, reason="nan", unit="nats", higher_is_better=False)
    root.commit(new.model_copy(update={"scores": [*new.scores, other]}))
    root.commit(make("timm:one", 0.1 + 0.2))
    root.fail(make("timm:two", failed=True))
    return root.root


def test_the_tables_say_the_same_and_all_of_it(store: Path, tmp_path: Path, make: Any) -> None:
    for form in ("csv", "parquet"):
        assert run(str(tmp_path / f"out.{form}"), "--to", form, "--store", str(store)).exit_code == 0
    tables = [pd.read_parquet(tmp_path / "out.parquet"), pd.read_csv(tmp_path / "out.csv", keep_default_na=False)]
    for table in tables:
        assert list(table.columns) == list(Row._fields)
        assert len(table) == 4
    exact, text = (table.set_index(["key", "metric"]).sort_index() for table in tables)
    assert list(exact.index) == list(text.index)
    key = make("timm:one", 0.1 + 0.2).key
    assert exact.loc[(key, "mAP"), "value"] == float(text.loc[(key, "mAP"), "value"]) == 0.1 + 0.2, "to the last bit"
    assert not exact.loc[(key, "mAP"), "comparable"], "a newer answer is there"
    newest = exact.loc[make("timm:one", 0.75, created="2026-02-01T00:00:00+00:00").key]
    assert (newest.loc["mAP", "value"], newest.loc["mAP", "headline"], newest.loc["mAP", "comparable"]) == (0.75, 1, 1)
    assert pd.isna(newest.loc["nll", "value"])
    assert (newest.loc["nll", "reason"], newest.loc["nll", "unit"], newest.loc["nll", "headline"]) == ("nan", "nats", 0)
    assert json.loads(newest.loc["nll", "datasets"]) == {"dataset": ["digits"]}
    (failed,) = (row for _, row in exact.iterrows() if row["status"] == "failed")
    assert pd.isna(failed["value"])
    assert (failed["reason"], failed["comparable"]) == ("failed: ValueError", False)


def test_an_empty_store_gives_typed_columns(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    run(str(tmp_path / "out.parquet"), "--to", "parquet", "--store", str(tmp_path / "store"))
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert len(table) == 0
    assert (table["value"].dtype, table["seed"].dtype, table["headline"].dtype) == ("float64", "int64", "bool")


def test_many_rows_are_written_in_batches(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("results.tidy.BATCH", 3)
    run(str(tmp_path / "out.parquet"), "--to", "parquet", "--store", str(store))
    assert len(pd.read_parquet(tmp_path / "out.parquet")) == 4


def test_csv_runs_no_formula_and_keeps_its_shape(tmp_path: Path, make: Any) -> None:
    root = Store(tmp_path / "store")
    for number, name in enumerate(HOSTILE):
        root.commit(make(name, 0.1 * number, task=name))
    said = run("--store", str(root.root)).stdout
    rows = list(csv.reader(said.splitlines(keepends=True)))
    assert (len(rows), {len(row) for row in rows}) == (1 + len(HOSTILE), {len(Row._fields)})
    assert not [cell for row in rows for cell in row if re.match(r"[\s\u200b]*([=@\t\r]|[+-](?![0-9.]))", cell)]
    (plus,) = (row for row in rows if row[0].endswith("+1") and "=" not in row[0])
    assert plus[0] == "'+1"


def test_latex_has_the_best_of_each_size(make: Any) -> None:
    records = [
        sized(make, 5, 0.5), sized(make, 29.9, 0.7), sized(make, 10, 0.6), sized(make, 10, 0.4),
        sized(make, 30, 0.3), sized(make, 150, 0.2), sized(make, 151, 0.9), sized(make, 1, 1.0, "floor", baseline=True),
    ]  # fmt: skip
    lines = size_classes.render(board(records), "", 3).splitlines()
    told = [re.search(r"\\emph{(\w+)}|timm:(\S+) ", line) for line in lines]
    assert [match[1] or match[2] for match in told if match] == [
        "small", r"29.9m\_0.7", r"10m\_0.6", r"5m\_0.5", "medium", r"30m\_0.3", r"150m\_0.2", "large", r"151m\_0.9"
    ]  # fmt: skip
    assert all(line.count("&") == 3 for line in lines if "timm:" in line)
    assert r"1 & timm:29.9m\_0.7 ° & 29.9 & 70.0 [60.0, 80.0] \\" in lines


def test_latex_where_lower_is_better_and_a_class_is_empty(make: Any) -> None:
    records = [sized(make, 5, value, higher_is_better=False) for value in (0.5, 0.2)]
    text = size_classes.render(board(records), "retrieval digits", 1)
    assert "0.2" in text
    assert r"5m\_0.5" not in text
    assert text.count(r" & -- & & \\") == 2


def test_latex_needs_a_setting_that_is_there(tmp_path: Path, make: Any) -> None:
    root = Store(tmp_path / "store")
    for task in ("retrieval", "classification.knn"):
        root.commit(make(task=task))
    for asked in ([], ["--setting", "retrieval digit"]):
        said = run("--to", "latex", "--store", str(root.root), *asked)
        assert said.exit_code == 2
        assert "classification.knn digits; retrieval digits" in said.output
    assert "toprule" in run("--to", "latex", "--store", str(root.root), "--setting", "retrieval digits").output


def test_the_hub_reads_the_model_index(tmp_path: Path, make: Any) -> None:
    root = Store(tmp_path / "store")
    for seed, value in enumerate([0.25, 0.75]):
        root.commit(make("timm:one", value, seed=seed))
    root.commit(make("timm:one", 0.5, task="robot.grasping"))
    root.commit(make("timm:other"))
    said = run("--to", "model-index", "--backbone", "timm:one", "--store", str(root.root))
    assert said.exit_code == 0
    name, results = model_index_to_eval_results(yaml.safe_load(said.stdout)["model-index"])
    assert name == "timm:one"
    assert [(r.task_type, r.dataset_type, r.dataset_split, r.metric_type, r.metric_value) for r in results] == [
        ("image-feature-extraction", "digits", "test", "mAP", 0.5),
        ("robot", "digits", "test", "mAP", 0.5),
    ]
    assert results[0].metric_args["seeds"] == 2
    assert results[0].metric_args["interval_95"] == pytest.approx([0.4, 0.6])
    assert len(results[0].metric_args["records"]) == 2


def test_a_seed_without_a_number_leaves_its_metric_out(tmp_path: Path, make: Any) -> None:
    root = Store(tmp_path / "store")
    root.commit(make("timm:one", 0.5))
    broken = make("timm:one", 0.6, seed=1)
    root.commit(broken.model_copy(update={"scores": [broken.scores[0].model_copy(update={"value": None})]}))
    said = run("--to", "model-index", "--backbone", "timm:one", "--store", str(root.root))
    assert yaml.safe_load(said.stdout)["model-index"][0]["results"] == []


def test_mistakes_are_lines_and_leave_no_file(store: Path, tmp_path: Path) -> None:
    for asked, why in [
        (["--to", "parquet"], "parquet is for a file"),
        (["--to", "model-index", "--backbone", "timm:three"], "there are some of: timm:one"),
        ([str(tmp_path / "out"), "--to", "latex", "--setting", "none"], "no setting 'none'"),
    ]:
        said = run("--store", str(store), *asked)
        assert said.exit_code == 2
        assert why in said.output
    assert run("--store", str(tmp_path / "nowhere")).exit_code == 2
    assert {path.name for path in tmp_path.iterdir()} == {"store"}
