"""Revisited Oxford and Paris: a small folder in the official format."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.adapters.pixel_statistics import PixelStatistics
from backbones.features import Extractor, ExtractSettings
from backbones.images import UnreadableImage, decode
from bob.data import check
from tasks.base import Outputs, Score, Tools
from tasks.catalogue import open_dataset
from tasks.datasets.cropped import CroppedFiles
from tasks.datasets.sources import MemoryFiles
from tasks.retrieval.landmarks import Landmarks

GALLERY = ["all_souls_000000", "worcester_000194", "oxford_001115", "trinity_000001"]
QUERIES = ["radcliffe_camera_000523", "ashmolean_000007"]


def truth(**changes):
    """Lists and arrays both occur in files people have."""
    entries = [
        {"bbx": [1.4, 2.0, 4.6, 5.5], "easy": [2, 0], "hard": np.array([3], dtype=np.uint8), "junk": []},
        {"bbx": np.array([0.0, 0, 5, 6]), "easy": np.array([]), "hard": [1], "junk": np.array([0, 3])},
    ]
    return {"imlist": list(GALLERY), "qimlist": list(QUERIES), "gnd": entries} | changes


@pytest.fixture
def write(tmp_path, make_tree):
    def written(content, name="roxford5k", folder=None, protocol=4) -> Path:
        root = tmp_path / (folder or name)
        make_tree(root, [f"jpg/{each}.jpg" for each in (*GALLERY, *QUERIES)])
        (root / f"gnd_{name}.pkl").write_bytes(
            content if isinstance(content, bytes) else pickle.dumps(content, protocol)
        )
        return root

    return written


def test_queries_are_cut_and_answers_are_rows_of_the_sorted_gallery(write, options):
    root = write(truth())
    dataset = open_dataset("revisited:roxford5k", options)
    query, gallery = dataset.splits["query"], dataset.splits["gallery"]
    assert dataset.warnings == ()
    assert list(gallery.images.names) == [f"jpg/{name}.jpg" for name in sorted(GALLERY)]
    assert list(query.images.names) == [f"query/{name}.png" for name in sorted(QUERIES)]
    named = dict(enumerate(sorted(GALLERY)))
    found = dataset.relevance
    second = sorted(QUERIES).index(QUERIES[0])
    assert {named[row] for row in found.easy.of_query(second)} == {GALLERY[0], GALLERY[2]}
    assert {named[row] for row in found.hard.of_query(second)} == {GALLERY[3]}
    first = 1 - second
    assert {named[row] for row in found.junk.of_query(first)} == {GALLERY[0], GALLERY[3]}
    whole = Image.open(io.BytesIO((root / f"jpg/{QUERIES[0]}.jpg").read_bytes()))
    expected = np.asarray(whole.convert("RGB").crop((1.4, 2.0, 4.6, 5.5)))  # Pillow's own rounding
    cut = decode(query.images.read(second)).permute(1, 2, 0).numpy()
    assert cut.shape == (4, 4, 3)
    np.testing.assert_array_equal(cut, expected)


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_is_the_same_set(write, options, protocol):
    write(truth(), protocol=protocol)
    found = open_dataset("revisited:roxford5k", options)
    write(truth(), folder="again")
    assert open_dataset("revisited:again", options).manifest_sha256 == found.manifest_sha256


def test_the_box_and_the_grades_are_part_of_the_identity(write, options):
    entries = truth()["gnd"]
    made = []
    for changes in ({}, {"bbx": [1, 2, 4, 6]}, {"easy": [2], "hard": [3, 0]}, {"junk": [1]}):
        write(truth(gnd=[entries[0] | changes, entries[1]]))
        made.append(open_dataset("revisited:roxford5k", options).manifest_sha256)
    assert len(set(made)) == 4


def test_one_of_several_sets_is_named(write, options, tmp_path):
    write(truth(), folder="landmarks")
    write(truth(), name="rparis6k", folder="landmarks")
    with pytest.raises(ValueError, match=r"needs one gnd_SET\.pkl; there are: .*; name one after a #"):
        open_dataset("revisited:landmarks", options)
    assert len(open_dataset("revisited:landmarks#rparis6k", options).splits["query"]) == 2
    with pytest.raises(ValueError, match=r"needs one gnd_holidays\.pkl; there are: gnd_roxford5k\.pkl, gnd_rparis6k"):
        open_dataset("revisited:landmarks#holidays", options)


def test_a_zip_with_folders_of_their_own(write, options, tmp_path):
    root = write(truth())
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in root.rglob("*.*"):
            archive.write(path, f"roxford5k/{path.relative_to(root)}")
    zipped = open_dataset("revisited:set.zip#roxford5k", options)
    assert zipped.manifest_sha256 == open_dataset("revisited:roxford5k", options).manifest_sha256


def test_by_name_other_counts_are_told(write, options):
    write(truth())
    dataset = open_dataset("roxford5k", options)
    assert dataset.warnings == ("query has 2 images, officially 70", "gallery has 4 images, officially 4,993")


class Payload:
    def __reduce__(self):
        return Path.touch, (Path("marker"),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"imlist": [Payload()]}), r"gnd_roxford5k\.pkl asks for pathlib.*nothing is run"),
        (b"<html>not found", r"gnd_roxford5k\.pkl is no readable pickle"),
        ([1], "no mapping with lists imlist, qimlist, gnd"),
        (truth(imlist="abc"), "no mapping with lists"),
        (truth(imlist=[]), "imlist is empty"),
        (truth(qimlist=[3, "a"]), "qimlist is empty, or holds something else than names"),
        (truth(imlist=[*GALLERY, GALLERY[0]]), "imlist names all_souls_000000 twice"),
        (truth(gnd=[]), "gnd has 0 entries, and qimlist has 2"),
        (truth(gnd=[{"bbx": [0, 0, 1, 1], "ok": [1]}] * 2), "gnd of query .* is no mapping with bbx, easy, hard, junk"),
        (truth(imlist=[*GALLERY, "../../secret"]), r"1 of 7 images are not there: jpg/\.\./\.\./secret\.jpg"),
        *(
            (truth(gnd=[truth()["gnd"][0] | changes, truth()["gnd"][1]]), message)
            for changes, message in [
                ({"easy": [4]}, r"easy of query 'radcliffe_camera_000523' holds rows other than 0\.\.3"),
                ({"easy": [-1]}, r"holds rows other than 0\.\.3"),
                ({"easy": [0.5]}, r"holds rows other than 0\.\.3"),
                ({"easy": [float("nan")]}, r"holds rows other than 0\.\.3"),
                ({"easy": "0"}, "easy of query .* is no list of numbers"),
                ({"junk": [0]}, "query 'radcliffe_camera_000523.jpg' lists all_souls_000000.jpg twice"),
                ({"bbx": [0, 0, 1]}, "bbx of query .* is not left, top, right, bottom"),
                ({"bbx": [0, 0, float("inf"), 1]}, "bbx of query .* is not left, top, right, bottom"),
                ({"bbx": [3, 3, 3, 9]}, r"cannot be cut at \(3, 3, 3, 9\): nothing of its 5 x 6 is in there"),
            ]
        ),
    ],
)
def test_bad_files_are_refused_by_name(content, message, write, options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(content)
    with pytest.raises(ValueError, match=message) as caught:
        open_dataset("revisited:roxford5k", options)
    assert "dataset 'revisited:roxford5k'" in str(caught.value)
    assert not (tmp_path / "marker").exists()


def test_crops_of_a_source(make_png):
    source = MemoryFiles("memory", {"a.png": make_png(0), "bad.png": b"none"})
    boxes = {"in": (1, 1, 3, 4), "over": (-2, 4, 7, 9), "out": (5, 0, 9, 9), "huge": (-1, -1, 90_000, 90_000)}
    cut = CroppedFiles(source, {name: ("a.png", box) for name, box in boxes.items()} | {"b": ("bad.png", (0, 0, 1, 1))})
    pixels = decode(source.read("a.png"))
    assert (decode(cut.read("in")) == pixels[:, 1:4, 1:3]).all()
    over = decode(cut.read("over"))
    assert over.shape == (3, 5, 9)
    assert (over[:, :2, 2:7] == pixels[:, 4:6]).all()
    assert int(over.int().sum()) == int(pixels[:, 4:6].int().sum()), "the rest is black"
    assert cut.read("a.png") == source.read("a.png")
    assert cut.files() == ["a.png", "b", "bad.png", "huge", "in", "out", "over"]
    for name, message in {
        "out": "nothing of its 5 x 6",
        "huge": "at most 80,000,000 pixels",
        "b": "no known image",
    }.items():
        with pytest.raises(UnreadableImage, match=message):
            cut.read(name)


def test_a_crop_changes_with_its_image_and_is_remembered_with_it(write, options):
    root = write(truth())
    before = open_dataset("revisited:roxford5k", options)
    (root / f"jpg/{QUERIES[0]}.jpg").write_bytes((root / f"jpg/{QUERIES[1]}.jpg").read_bytes())
    after = open_dataset("revisited:roxford5k", options)
    assert before.manifest_sha256 != after.manifest_sha256
    assert open_dataset("revisited:roxford5k", options).manifest_sha256 == after.manifest_sha256


def test_data_check_covers_it(write, options, tmp_path):
    write(truth())
    lines, sound = check("roxford5k", options, tmp_path / "store")
    assert not sound
    assert {"split query: 2 images", "classes: 0", "differs: query has 2 images, officially 70"} <= set(lines)
    assert check("revisited:roxford5k", options, tmp_path / "store")[1]


def test_from_the_files_to_the_scores(write, options, tmp_path):
    """A query that is cut to nearly all of an image of the gallery finds that image first."""
    root = write(truth(gnd=[entry | {"bbx": [0, 1, 5, 6]} for entry in truth()["gnd"]]))
    (root / f"jpg/{QUERIES[1]}.jpg").write_bytes((root / f"jpg/{GALLERY[1]}.jpg").read_bytes())
    dataset = open_dataset("revisited:roxford5k", options)
    task, backbone = Landmarks(), PixelStatistics()
    assert task.refusal(backbone, {"dataset": [dataset]}) is None
    extract = Extractor(ExtractSettings(tmp_path / "features", device="cpu", workers=1))
    answers = list(task.run(backbone, {"dataset": [dataset]}, Tools(extract), 0))
    (hard,) = [one.columns for one in answers if isinstance(one, Outputs) and one.split == "hard"]
    row = hard["item"].tolist().index(f"query/{QUERIES[1]}.png")
    assert hard["nearest_1"][row] == f"jpg/{GALLERY[1]}.jpg"
    assert hard["right_1"][row]
    assert hard["nearest_3"][row] == "", "two of the four are junk for it"
    assert {one.metric for one in answers if isinstance(one, Score)} >= {"mAP_easy", "mAP_medium", "mP@10_hard"}
