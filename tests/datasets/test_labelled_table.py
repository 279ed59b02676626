"""Tables of any kind of target: what is read, what is one dataset, and errors that name row and column."""

import math

import numpy as np
import pytest

from tasks.catalogue import open_dataset
from tasks.datasets.partition import partition

HEAD = "path,split,group,label\n"


@pytest.fixture
def table(tmp_path, make_tree):
    """Writes ``set/labels.csv`` and a file for each of its paths that ends in .png."""

    def write(text, missing=()):
        paths = [line.split(",")[0] for line in text.splitlines()[1:] if line.split(",")[0].endswith(".png")]
        make_tree(tmp_path / "set", [path for path in paths if path not in missing and ".." not in path])
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / "labels.csv").write_text(text)

    return write


def test_classes_splits_and_groups(table, options):
    table(HEAD + "b.png,train,ann,dog\na.png,train,bob,cat\nc.png,valid,eve,dog\n")
    dataset = open_dataset("table:set/labels.csv", options)
    assert (dataset.target, dataset.classes) == ("class", ("cat", "dog"))
    train = dataset.splits["train"]
    assert list(zip(train.images.names, train.labels.tolist(), train.groups, strict=True)) == [
        ("a.png", 0, "bob"),
        ("b.png", 1, "ann"),
    ]
    assert train.targets is None
    assert dataset.splits["val"].labels.tolist() == [1]


def test_several_labels_with_unknown_and_uncertain_cells(table, options):
    table("path,edema,fracture\na.png,1.0,0\nb.png,,-1\nc.png,0,1\n")
    with pytest.raises(ValueError, match=r"row 3: fracture is '-1'; choose from 1, 0 or leave it empty"):
        open_dataset("table:set/labels.csv?kind=multilabel", options)
    found = {
        setting: open_dataset(f"table:set/labels.csv?kind=multilabel&{setting}", options)
        for setting in ("uncertain=ones", "uncertain=zeros&blank=ones", "uncertain=unknown&blank=zeros")
    }
    nan = math.nan
    for (setting, dataset), row in zip(found.items(), ([nan, 1], [1, 0], [0, nan]), strict=True):
        assert dataset.classes == ("edema", "fracture"), setting
        split = dataset.splits["all"]
        np.testing.assert_array_equal(split.targets, np.array([[1, 0], row, [0, 1]], np.float32))
        assert split.labels.tolist() == [-1, -1, -1]
    assert len({dataset.manifest_sha256 for dataset in found.values()}) == 3
    one = open_dataset("table:set/labels.csv?kind=multilabel&target=edema", options)
    assert one.splits["all"].targets.shape == (3, 1)


def test_which_column_is_whose_and_whose_image_it_is_are_in_the_identity(table, options):
    def identity(text, settings):
        table(text)
        return open_dataset(f"table:set/labels.csv?{settings}", options).manifest_sha256

    plain = "path,group,a,b\nx.png,p,1,0\ny.png,q,0,1\n"
    seen = [
        identity(plain, "kind=multilabel&target=a,b"),
        identity(plain, "kind=multilabel&target=b,a"),
        identity(plain.replace("a,b\n", "c,b\n"), "kind=multilabel&target=c,b"),
        identity(plain.replace("y.png,q", "y.png,p"), "kind=multilabel&target=a,b"),
        identity(plain, "kind=value&target=a"),
        identity(plain, "kind=ordinal&target=a"),
        identity(plain, "kind=class&target=a"),
        identity(plain, "kind=ordinal&target=a&order=1,0"),
    ]
    assert len(set(seen)) == len(seen)
    assert seen[0] == identity(plain, "kind=multilabel")


def test_ordered_classes(table, options):
    table("path,label\na.png,10\nb.png,9\nc.png,12\n")
    dataset = open_dataset("table:set/labels.csv?kind=ordinal", options)
    assert dataset.classes == ("9", "10", "11", "12")
    assert dataset.splits["all"].labels.tolist() == [1, 0, 3]
    table("path,grade\na.png,mild\nb.png,none\n")
    named = open_dataset("table:set/labels.csv?kind=ordinal&target=grade&order=none,mild,severe", options)
    assert named.classes == ("none", "mild", "severe")
    assert named.splits["all"].labels.tolist() == [1, 0]


def test_numbers(table, options):
    table("path,age\na.png,41.5\nb.png,-3e2\n")
    dataset = open_dataset("table:set/labels.csv?kind=value&target=age", options)
    assert (dataset.target, dataset.classes) == ("value", ("age",))
    assert dataset.splits["all"].targets.tolist() == [[41.5], [-300.0]]


def test_a_zip_of_it_is_the_same_dataset(tmp_path, table, options, make_zip):
    table("path,label\na.png,x\nb.png,y\n")
    make_zip(tmp_path / "set.zip", ["a.png", "b.png"])
    import zipfile

    with zipfile.ZipFile(tmp_path / "set.zip", "a") as archive:
        archive.write(tmp_path / "set" / "labels.csv", "labels.csv")
    folder, zipped = (open_dataset(f"table:{name}", options) for name in ("set", "set.zip"))
    assert folder.manifest_sha256 == zipped.manifest_sha256
    with zipfile.ZipFile(tmp_path / "set.zip", "a") as archive:
        archive.writestr("more.csv", "path,label\na.png,x\ngone.png,y\n")
    with pytest.raises(ValueError, match=r"1 of 2 images cannot be read[\s\S]*no member 'gone.png'"):
        open_dataset("table:set.zip#more.csv", options)


def test_an_image_that_is_missing_is_named_and_can_be_left_out(table, options):
    from dataclasses import replace

    table("path,label\na.png,x\nb.png,y\nc.png,y\n", missing=("b.png",))
    with pytest.raises(ValueError, match=r"1 of 3 images cannot be read[\s\S]*b\.png: .*No such file"):
        open_dataset("table:set/labels.csv", options)
    dataset = open_dataset("table:set/labels.csv", replace(options, skip_unreadable=True))
    assert (dataset.n_used, dataset.n_total) == (2, 3)


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("path,label\na.png,\n", "", "labels.csv row 2: label is empty"),
        ("path,label\na.png,\n", "kind=ordinal", "labels.csv row 2: label is empty"),
        ("path,label\na.png,1\nb.png,old\n", "kind=value", "row 3: label is 'old', no finite number"),
        ("path,label\na.png,inf\n", "kind=value", "row 2: label is 'inf', no finite number"),
        ("path,label\na.png,1e39\n", "kind=value", "row 2: label is '1e39', no finite number"),
        ("path,label\na.png,2\n", "kind=multilabel", "row 2: label is '2'; choose from 1, 0 or leave it empty"),
        ("path,label\na.png,yes\n", "kind=multilabel", "row 2: label is 'yes'; choose from 1, 0 or"),
        ("path,label\na.png,nan\n", "kind=multilabel", "row 2: label is 'nan'; choose from 1, 0 or"),
        ("path,label\na.png,3\n", "kind=multilabel&uncertain=ones", r"choose from 1, 0, -1 \(uncertain\) or"),
        ("path,label\na.png,mild\n", "kind=ordinal", "'mild' is no whole number; say the classes' order with order="),
        ("path,label\na.png,1\nb.png,3000\n", "kind=ordinal", "grades run 1..3000"),
        ("path,label\na.png,worst\n", "kind=ordinal&order=low,high", "classes worst are not in order=low,high"),
        ("path,label\na.png,x\na.png,y\n", "", "row 3: 'a.png' is also in row 2"),
        ("path,label\n../a.png,x\n", "", "row 2: path '../a.png' is not below the table's folder"),
        ("path,label\n/etc/passwd,x\n", "", "row 2: path '/etc/passwd' is not below"),
        ("path,label\n,x\n", "", "row 2: path is empty"),
        ("path,label\na.png,x,y\n", "", "row 2: more cells than the header"),
        ("path,label\n", "", "labels.csv has no rows"),
        ("path,label,split\na.png,x,dev\n", "", "row 2: split is 'dev'; choose from train, val, test"),
        ("path,label,group\na.png,x,\n", "", "row 2: group is empty"),
        ("file,label\na.png,x\n", "", "no column path; it has: file, label"),
        ("path,label\na.png,x\n", "target=grade", "no column grade; it has: path, label"),
        ("path,label\na.png,x\n", "split=part", "no column part"),
        ("path,a,b\na.png,1,0\n", "kind=value&target=a,b", "2 target columns; kind=value takes one"),
        ("path,split\na.png,train\n", "kind=multilabel", "0 target columns"),
        ("path,label\na.png,x\n", "kind=clas", "unknown value of kind 'clas'; did you mean 'class'"),
        ("path,label\na.png,1\n", "kind=multilabel&uncertain=maybe", "unknown value of uncertain 'maybe'"),
    ],
)
def test_errors_name_row_and_column(text, settings, message, table, options):
    table(text)
    with pytest.raises(ValueError, match=message):
        open_dataset(f"table:set/labels.csv{'?' * bool(settings)}{settings}", options)


def test_a_table_that_is_not_there_or_no_text(tmp_path, options, table):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv"):
        open_dataset("table:nowhere.csv", options)
    table("path,label\na.png,x\n")
    with pytest.raises(ValueError, match=r"no file 'other\.csv' in it"):
        open_dataset("table:set#other.csv", options)
    (tmp_path / "set" / "labels.csv").write_bytes(b"path,label\n\xff\xfe,x\n")
    with pytest.raises(ValueError, match=r"labels\.csv is not UTF-8 text"):
        open_dataset("table:set", options)


def test_no_group_is_divided_by_what_is_carved_and_shared_ones_are_warned_of(table, options):
    rows = "".join(f"{who}{i}.png,{who},{i % 2}\n" for who in "abcdefghij" for i in range(4))
    table("path,group,label\n" + rows)
    for kind in ("class", "multilabel"):
        dataset = open_dataset(f"table:set/labels.csv?kind={kind}", options)
        for seed in range(10):
            parts = partition(dataset, seed)
            held = [{name[0] for name in part.names} for part in (parts.train, parts.val, parts.test)]
            assert [len(names) for names in held] == [6, 2, 2]
            assert set.union(*held) == set("abcdefghij")
            assert "whole groups" in parts.notes["val"]
            assert "stratified" not in parts.notes["val"]
    table("path,group,split,label\na.png,ann,train,1\nb.png,ann,test,0\nc.png,eve,train,0\n")
    dataset = open_dataset("table:set/labels.csv?kind=multilabel", options)
    assert "leak: 1 groups of test are also in train: ann" in dataset.warnings
