"""CheXpert's layout: what is read, how uncertain cells are, who is in which part, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tasks.catalogue import open_dataset
from tasks.datasets.chexpert import ALL, COMPETITION
from tasks.datasets.partition import partition

HEAD = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *ALL]


def line(path, view="Frontal", **cells):
    named = {name.replace(" ", "_"): name for name in ALL}
    values = {named[name]: cell for name, cell in cells.items()}
    return ",".join([path, "Male", "60", view, "AP", *(values.get(name, "") for name in ALL)])


def path(split, patient, study=1, view="view1_frontal"):
    return f"CheXpert-v1.0-small/{split}/patient{patient:05}/study{study}/{view}.jpg"


@pytest.fixture
def chexpert(tmp_path, make_tree):
    def write(train, valid, head=HEAD):
        root = tmp_path / "CheXpert-v1.0-small"
        shutil.rmtree(root, ignore_errors=True)
        files = [row.split(",")[0] for row in [*train, *valid]]
        make_tree(tmp_path, [file for file in files if file.endswith(".jpg")])
        for name, rows in (("train", train), ("valid", valid)):
            (root / f"{name}.csv").write_text("\n".join([",".join(head), *rows]) + "\n")
        return root

    return write


@pytest.fixture
def small(chexpert):
    return chexpert(
        [
            line(path("train", 1), Edema="-1.0", Cardiomegaly="-1.0", Atelectasis="-1.0", Consolidation="0.0"),
            line(path("train", 1, view="view2_lateral"), view="Lateral", Edema="1.0"),
            line(path("train", 2), Pleural_Effusion="1.0", Fracture="-1.0"),
        ],
        [line(path("valid", 9), Edema="1.0", Consolidation="0.0")],
    )


def test_the_studys_reading(small, options):
    dataset = open_dataset("chexpert:CheXpert-v1.0-small", options)
    assert dataset.target == "multilabel"
    assert dataset.classes == COMPETITION
    train, val = dataset.splits["train"], dataset.splits["val"]
    assert list(train.images.names) == [
        "train/patient00001/study1/view1_frontal.jpg",
        "train/patient00002/study1/view1_frontal.jpg",
    ]
    assert train.groups == ("patient00001", "patient00002")
    # Cardiomegaly and the rest by U-zeros, Edema and Atelectasis by U-ones, empty as absent.
    np.testing.assert_array_equal(train.targets, [[0, 1, 0, 1, 0], [0, 0, 0, 0, 1]])
    np.testing.assert_array_equal(val.targets, [[0, 1, 0, 0, 0]])
    assert "the official val split" in partition(dataset, 0).notes["test"]


def test_other_readings_and_all_findings(small, options):
    nan = np.nan
    for setting, first in (
        ("?uncertain=ones", [1, 1, 0, 1, 0]),
        ("?uncertain=zeros", [0, 0, 0, 0, 0]),
        ("?uncertain=unknown&blank=unknown", [nan, nan, 0, nan, nan]),
    ):
        dataset = open_dataset(f"chexpert:CheXpert-v1.0-small{setting}", options)
        np.testing.assert_array_equal(dataset.splits["train"].targets[0], first)
    every = open_dataset("chexpert:CheXpert-v1.0-small#14", options)
    assert every.classes == ALL
    assert every.splits["train"].targets[1, ALL.index("Fracture")] == 0


def test_the_folder_around_it_or_a_zip_are_the_same(small, options, tmp_path):
    (tmp_path / "around").mkdir()
    shutil.copytree(small, tmp_path / "around" / "CheXpert-v1.0-small")
    shutil.make_archive(str(tmp_path / "chexpert"), "zip", tmp_path, "CheXpert-v1.0-small")
    names = ("CheXpert-v1.0-small", "around", "chexpert.zip")
    assert len({open_dataset(f"chexpert:{name}", options).manifest_sha256 for name in names}) == 1


def test_train_and_val_share_no_patient(chexpert, options):
    train = [line(path("train", who, study), Edema="1.0") for who in range(40) for study in range(1, 2 + who % 4)]
    chexpert(train, [line(path("valid", 99))])
    dataset = open_dataset("chexpert:CheXpert-v1.0-small", options)
    drawn = set()
    for seed in range(10):
        parts = partition(dataset, seed)
        groups = np.asarray(dataset.splits["train"].groups)
        patients, others = set(groups[parts.train.rows]), set(groups[parts.val.rows])
        assert not patients & others
        assert len(patients | others) == 40
        assert 0.2 * len(groups) <= len(parts.val) < 0.2 * len(groups) + 4
        np.testing.assert_array_equal(parts.val.targets, dataset.splits["train"].targets[parts.val.rows])
        drawn.add(tuple(parts.val.rows))
    assert len(drawn) == 10


GOOD, OTHER = line(path("train", 1)), line(path("valid", 9))


@pytest.mark.parametrize(
    ("train", "valid", "message"),
    [
        ([line(path("train", 1), Edema="2.0")], [OTHER], r"train.csv row 2: Edema is '2.0'; choose from 1, 0, -1"),
        ([line(path("train", 1), Edema="yes")], [OTHER], r"train.csv row 2: Edema is 'yes'"),
        ([GOOD, GOOD], [OTHER], "row 3: .* is also in row 2"),
        ([GOOD], [line(path("valid", 9), Cardiomegaly="-2")], "valid.csv row 2: Cardiomegaly is '-2'"),
        ([line(path("train", 1), view="Oblique")], [OTHER], "Frontal/Lateral is 'Oblique'; choose from"),
        ([line("train/someone/a.jpg")], [OTHER], "names no patient"),
        ([line("CheXpert-v1.0-small/train/../../patient1/a.jpg")], [OTHER], "not below the table's folder"),
    ],
)
def test_errors_name_table_row_and_column(train, valid, message, chexpert, options):
    chexpert(train, valid)
    with pytest.raises(ValueError, match=message):
        open_dataset("chexpert:CheXpert-v1.0-small", options)


def test_what_is_missing_is_named(chexpert, options):
    root = chexpert([GOOD], [OTHER], head=[name for name in HEAD if name != "Edema"])
    with pytest.raises(ValueError, match=r"train\.csv has no column Edema; it has: Path, Sex"):
        open_dataset("chexpert:CheXpert-v1.0-small", options)
    chexpert([GOOD], [OTHER])
    next(root.glob("valid/**/*.jpg")).unlink()
    with pytest.raises(ValueError, match=r"1 of 2 images cannot be read[\s\S]*patient00009.*No such file"):
        open_dataset("chexpert:CheXpert-v1.0-small", options)
    Path(root / "valid.csv").unlink()
    with pytest.raises(ValueError, match=r"no valid\.csv beside train\.csv"):
        open_dataset("chexpert:CheXpert-v1.0-small", options)
    Path(root / "train.csv").unlink()
    with pytest.raises(ValueError, match=r"needs one train\.csv"):
        open_dataset("chexpert:CheXpert-v1.0-small", options)
    with pytest.raises(ValueError, match="unknown part of dataset 'chexpert', '7'"):
        open_dataset("chexpert:CheXpert-v1.0-small#7", options)
