"""The reader over the real ``datasets`` library, on small sets on disk in each format it reads, without a network."""

import os
import sys

import datasets
import pytest

from tasks.catalogue import open_dataset
from tasks.datasets import content_hashes


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub cache")
    datasets.disable_progress_bars()


def table(contents, labels, label="label"):
    """A real table of encoded images. The names are not in sorted order: theirs is the order of labels."""
    features = datasets.Features({"image": datasets.Image(), label: datasets.ClassLabel(names=["dog", "cat"])})
    rows = {"image": [content and {"bytes": content, "path": None} for content in contents], label: labels}
    return datasets.Dataset.from_dict(rows, features=features)


def write_parquet(folder, make_png, label="label"):
    folder.mkdir(parents=True)
    table([make_png(0), make_png(1), make_png(2)], [1, 0, 1], label).to_parquet(folder / "train-00000-of-00001.parquet")
    table([make_png(3)], [0], label).to_parquet(folder / "test-00000-of-00001.parquet")


def write_image_folder(folder, make_png):
    for seed, name in enumerate(["train/cat/a.png", "train/dog/b.png", "train/cat/c.png", "test/dog/d.png"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(make_png(seed))


def write_saved(folder, make_png):
    parts = {
        "train": table([make_png(0), make_png(1), make_png(2)], [1, 0, 1]),
        "test": table([make_png(3)], [0]),
    }
    datasets.DatasetDict(parts).save_to_disk(folder)


def write_one_saved(folder, make_png):
    table([make_png(0), make_png(1), make_png(2)], [1, 0, 1]).save_to_disk(folder)


def contents(split):
    return {split.images.read(row) for row in range(len(split))}


@pytest.mark.parametrize("write", [write_parquet, write_image_folder, write_saved])
def test_formats_on_disk(tmp_path, options, make_png, write):
    write(tmp_path / "sets" / "pets@home", make_png)
    dataset = open_dataset("huggingface:sets/pets@home", options)
    assert set(dataset.classes) == {"cat", "dog"}
    by_class = {
        split: {(dataset.classes[label], part.images.read(row)) for row, label in enumerate(part.labels)}
        for split, part in dataset.splits.items()
    }
    assert by_class == {
        "train": {("cat", make_png(0)), ("dog", make_png(1)), ("cat", make_png(2))},
        "test": {("dog", make_png(3))},
    }
    assert dataset.n_used == dataset.n_total == 4
    assert not any("leak" in warning for warning in dataset.warnings)


def test_class_names_keep_the_order_of_the_labels(tmp_path, options, make_png):
    write_parquet(tmp_path / "pets", make_png)
    dataset = open_dataset("huggingface:pets", options)
    assert dataset.classes == ("dog", "cat")
    assert dataset.splits["train"].labels.tolist() == [1, 0, 1]


def test_a_table_saved_alone_has_no_parts(tmp_path, options, make_png):
    write_one_saved(tmp_path / "pets", make_png)
    dataset = open_dataset(f"huggingface:{tmp_path / 'pets'}", options)
    assert set(dataset.splits) == {"all"}
    assert [dataset.splits["all"].images.read(row) for row in range(3)] == [make_png(0), make_png(1), make_png(2)]


def test_the_same_rows_in_two_formats_are_one_identity(tmp_path, options, make_png):
    write_parquet(tmp_path / "one", make_png)
    write_saved(tmp_path / "other", make_png)
    one, other = (open_dataset(f"huggingface:{name}", options) for name in ("one", "other"))
    assert one.manifest_sha256 == other.manifest_sha256


@pytest.mark.parametrize("write", [write_parquet, write_image_folder, write_saved])
def test_changed_files_are_another_identity(tmp_path, options, make_png, write, monkeypatch):
    monkeypatch.setattr(content_hashes, "SETTLED_SECONDS", 0.0)
    write(tmp_path / "pets", make_png)
    before = open_dataset("huggingface:pets", options).manifest_sha256
    assert open_dataset("huggingface:pets", options).manifest_sha256 == before
    os.rename(tmp_path / "pets", tmp_path / "old")
    write(tmp_path / "pets", lambda seed: make_png(seed + 10))
    assert open_dataset("huggingface:pets", options).manifest_sha256 != before


def test_tables_are_hashed_once(tmp_path, options, make_png, monkeypatch):
    monkeypatch.setattr(content_hashes, "SETTLED_SECONDS", 0.0)
    write_parquet(tmp_path / "pets", make_png)
    first = open_dataset("huggingface:pets", options)
    monkeypatch.setattr(content_hashes, "_sha256", lambda source, name: pytest.fail(f"{name} was hashed again"))
    assert open_dataset("huggingface:pets", options).manifest_sha256 == first.manifest_sha256


def test_rows_without_label_are_left_out_and_told(tmp_path, options, make_png):
    (tmp_path / "pets").mkdir()
    table([make_png(0), make_png(1), make_png(2)], [-1, 0, None]).to_parquet(tmp_path / "pets" / "train.parquet")
    dataset = open_dataset("huggingface:pets", options)
    assert contents(dataset.splits["train"]) == {make_png(1)}
    assert "2 of 3 images of train have no label and are left out" in dataset.warnings


def test_a_row_without_image_is_named(tmp_path, options, make_png):
    (tmp_path / "pets").mkdir()
    table([make_png(0), None], [1, 0]).to_parquet(tmp_path / "pets" / "train.parquet")
    with pytest.raises(ValueError, match=r"1 of 2 images cannot be read(.|\n)*train/0000001: the row has no image"):
        open_dataset("huggingface:pets", options)


def test_a_label_column_of_another_name(tmp_path, options, make_png):
    write_parquet(tmp_path / "pets", make_png, label="animal")
    assert open_dataset("huggingface:pets", options).classes == ("dog", "cat")
    with pytest.raises(ValueError, match=r"label=COLUMN \(it has: animal\)"):
        open_dataset("huggingface:pets?label=colour", options)


def test_a_script_is_refused_and_does_not_run(tmp_path, options):
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "pets.py").write_text(f"open({str(tmp_path / 'it ran')!r}, 'w').close()\nimport datasets\n")
    (tmp_path / "pets" / "train.csv").write_text("image,label\n")
    with pytest.raises(ValueError, match=r"pets' cannot be opened.*scripts are no longer supported") as caught:
        open_dataset("huggingface:pets", options)
    assert not (tmp_path / "it ran").exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train.parquet", b"PAR1 and no more", "Parquet"),
        ("train.csv", b"a,b\n1,2\n", r"needs one image column \(it has: none\)"),
        ("notes.bin", b"nothing here", "data files found"),
    ],
)
def test_a_folder_that_holds_no_image_set(tmp_path, options, file, content, message):
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / file).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        open_dataset("huggingface:pets", options)
    assert "\n" not in str(caught.value)


def test_two_splits_of_one_meaning(tmp_path, options, make_png):
    parts = {name: table([make_png(0)], [0]) for name in ("val", "validation")}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "pets")
    with pytest.raises(ValueError, match=r"two val splits among val, validation"):
        open_dataset("huggingface:pets", options)


def test_the_hub_is_asked_for_the_id_the_configuration_and_the_revision(options, make_png, monkeypatch):
    asked = []

    def load(*arguments, **keywords):
        asked.append((arguments, keywords))
        return datasets.DatasetDict(train=table([make_png(0)], [0]))

    monkeypatch.setattr(datasets, "load_dataset", load)
    open_dataset("huggingface:me/pets@v1#small", options)
    assert asked == [(("me/pets", "small"), {"revision": "v1"})]


def test_without_a_network_one_line_names_the_manual_path(options, monkeypatch, capfd):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # as the variable of that name does
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match=r"me/pets.*copy its HF_HOME folder.*images:PATH") as caught:
        open_dataset("huggingface:me/pets", options)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_without_the_library_the_error_names_the_extra(options, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match="uv sync --extra huggingface"):
        open_dataset("huggingface:me/pets", options)
