"""Copydays and DISC21 as their archives unpack, against what was written, up to a task and ``bob data check``."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sklearn.metrics import average_precision_score

from backbones.base import freeze
from backbones.catalogue import load
from backbones.features import Extractor, ExtractSettings
from bob.data import check
from tasks.base import Score, Tools
from tasks.catalogue import open_dataset
from tasks.features import normalised
from tasks.retrieval.copies import Copies
from tasks.retrieval.retrieval import Retrieval

ORIGINALS = ["original/200000.png", "original/200100.png", "original/200200.png"]
COPIES = ["strong/200001.png", "strong/200002.png", "strong/200201.png"]
OTHERS = ["crops/10/200000.png", "crops/50/200000.png", "jpegqual/3/200100.png"]


def found_in(dataset, split):
    part = dataset.splits[split]
    return {name: dataset.classes[label] for name, label in zip(part.images.names, part.labels, strict=True)}


@pytest.fixture
def copydays(tmp_path, make_tree):
    return make_tree(tmp_path / "copydays", [*ORIGINALS, *COPIES, *OTHERS, "other/a.png", "other/b.png"])


def test_copies_are_of_the_photograph_of_their_number(copydays, options):
    dataset = open_dataset("inria-copydays#strong", options)
    assert found_in(dataset, "query") == dict(zip(COPIES, ["2000", "2000", "2002"], strict=True))
    assert found_in(dataset, "gallery") == dict(zip(ORIGINALS, ["2000", "2001", "2002"], strict=True))
    every = open_dataset("inria-copydays", options)
    assert set(found_in(every, "query")) == {*COPIES, *OTHERS}
    assert set(found_in(open_dataset("copydays:copydays#crops,jpeg", options), "query")) == set(OTHERS)
    assert "query has 6 images, officially 3,055" in every.warnings


def test_archives_that_unpack_under_their_own_names(tmp_path, options, make_tree):
    make_tree(
        tmp_path / "c", ["copydays_original/200000.png", "copydays_strong/200001.png", "copydays_crop/200002.png"]
    )
    assert len(open_dataset("copydays:c", options).splits["query"]) == 2


def test_distractors_are_nobodys_original(copydays, options):
    dataset = open_dataset("copydays:copydays#strong?distractors=other", options)
    assert found_in(dataset, "gallery")["other/a.png"] == "distractor"
    assert "distractor" not in found_in(dataset, "query").values()
    assert len(dataset.splits["gallery"]) == 5
    with pytest.raises(FileNotFoundError, match="no images in the folder 'none'"):
        open_dataset("copydays:copydays#strong?distractors=none", options)


@pytest.mark.parametrize(
    ("more", "part", "error", "message"),
    [
        ("strong/200301.png", "", ValueError, "1 images of .* have no original: strong/200301.png"),
        ("strong/flower.png", "", ValueError, "'strong/flower.png' is not called by a number"),
        ("original/200101.png", "", ValueError, "hold more than one image of 2001"),
        ("", "#storng", ValueError, "kind 'storng'; choose from strong, crops, jpeg"),
    ],
)
def test_photographs_that_do_not_fit(more, part, error, message, copydays, options, make_png):
    if more:
        (copydays / more).write_bytes(make_png(99))
    with pytest.raises(error, match=message):
        open_dataset(f"copydays:copydays{part}", options)


def test_folders_that_are_missing(tmp_path, options, make_tree):
    make_tree(tmp_path / "some", ORIGINALS)
    for part, named in (("", "strong"), ("#jpeg", "jpegqual or jpeg")):
        with pytest.raises(FileNotFoundError, match=f"no images in a folder {named} or .*jegou/data.php"):
            open_dataset(f"copydays:some{part}", options)
    make_tree(tmp_path / "copies", COPIES)
    with pytest.raises(FileNotFoundError, match="no images in a folder original or copydays_original"):
        open_dataset("copydays:copies", options)


QUERIES = {"Q00000": "R000002", "Q00001": "", "Q00002": "", "Q00003": "R000000", "Q00004": "R000002"}


def picture(seed: int, blur: float = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((48, 48), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(blur)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(params=["header", "as released"])
def disc(request, tmp_path):
    """Queries are their references blurred; two are of nothing there."""
    root = tmp_path / "DISC21"
    names = ("dev_queries", "references", "training") if request.param == "header" else (
        "dev_queries_50k_0", "refs_50k_0", "train_50k_0")  # fmt: skip
    folders = [root / name for name in names]
    for folder in folders:
        folder.mkdir(parents=True)
    for query, reference in QUERIES.items():
        seed = int(reference[1:]) if reference else 100 + int(query[1:])
        (folders[0] / f"{query}.jpg").write_bytes(picture(seed, blur=3))
    for number in range(6):
        (folders[1] / f"R{number:06}.jpg").write_bytes(picture(number))
        (folders[2] / f"T{number:06}.jpg").write_bytes(picture(50 + number))
    rows = [f"{query},{reference}" for query, reference in QUERIES.items()]
    (root / "dev_queries_groundtruth.csv").write_text(
        "\n".join(["query_id,reference_id", *rows] if request.param == "header" else rows) + "\n"
    )
    return root


def copies_of(dataset):
    queries, gallery = (dataset.splits[split].images.names for split in ("query", "gallery"))
    return {
        name[-10:-4]: [gallery[found][-11:-4] for found in dataset.relevance.right(row)]
        for row, name in enumerate(queries)
    }


def test_disc_is_what_was_written(disc, options):
    dataset = open_dataset("disc-2021", options)
    assert copies_of(dataset) == {query: [reference] if reference else [] for query, reference in QUERIES.items()}
    assert (dataset.target, set(dataset.splits)) == ("relevance", {"query", "gallery"})
    with_training = open_dataset("disc-2021#training", options)
    assert len(with_training.splits["train"]) == 6
    assert with_training.manifest_sha256 != dataset.manifest_sha256
    truth = disc / "dev_queries_groundtruth.csv"
    truth.write_text(truth.read_text().replace("Q00004,R000002", "Q00004,"))
    assert open_dataset("disc-2021", options).manifest_sha256 != dataset.manifest_sha256


def test_queries_that_the_truth_does_not_list_are_none(disc, options):
    folder = next(path for path in disc.iterdir() if path.name.startswith("dev_queries") and path.is_dir())
    (folder / "Q00009.jpg").write_bytes(picture(9))
    assert len(open_dataset("disc-2021", options).splits["query"]) == 5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Q00000,R000001", "row {}: query 'Q00000' is listed twice"),
        ("Q00007,", "row {}: there is no image of 'Q00007'"),
        ("Q00001,R000009", "row {}: there is no image of 'R000009'"),
        ("Q00001,R000001,x", "row {}: more cells than the header"),
    ],
)
def test_a_truth_that_does_not_fit(line, message, disc, options):
    truth = disc / "dev_queries_groundtruth.csv"
    with truth.open("a") as file:
        file.write(f"{line}\n")
    rows = len(truth.read_text().splitlines())
    with pytest.raises(ValueError, match=message.format(rows if "cells" not in message else "[67]")):
        open_dataset("disc21:DISC21", options)


def test_disc_without_truth_or_references_or_with_an_id_twice(disc, options):
    references = next(path for path in disc.iterdir() if path.name.startswith("ref"))
    (references / "again").mkdir()
    (references / "again" / "R000001.png").write_bytes(picture(1))
    with pytest.raises(ValueError, match="have one id; keep one of them"):
        open_dataset("disc21:DISC21", options)
    references.rename(disc / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"no images in a folder references of .*disc21-dataset"):
        open_dataset("disc21:DISC21", options)
    with pytest.raises(FileNotFoundError, match=r"no file test_queries_groundtruth\.csv in"):
        open_dataset("disc21:DISC21#test_queries", options)


@pytest.mark.parametrize("disc", ["header"], indirect=True)
def test_micro_ap_from_files(disc, tmp_path, options):
    """Pixels find the blurred copies; scikit-learn on their own similarities has the same number."""
    dataset = open_dataset("disc-2021#training", options)
    backbone, tools = freeze(load("pixels")), Tools(Extractor(ExtractSettings(tmp_path / "f", device="cpu", workers=1)))
    unit = {
        split: normalised(tools.extract(backbone, dataset.splits[split].images, "pooled")) for split in dataset.splits
    }
    right = np.zeros((5, 6), bool)
    right[0, 2] = right[3, 0] = right[4, 2] = True
    for beta in (0.0, 1.0):
        near = np.sort(unit["query"] @ unit["train"].T, axis=1)[:, -2:].mean(1, keepdims=True)
        expected = average_precision_score(right.ravel(), (unit["query"] @ unit["gallery"].T - beta * near).ravel())
        answers = Copies(beta=beta, neighbours=2).run(backbone, {"dataset": [dataset]}, tools, 0)
        scores = {each.metric: each.value for each in answers if isinstance(each, Score)}
        assert scores["micro_ap"] == pytest.approx(expected, abs=1e-6)
        assert scores["recall@1"] == 1


def test_copydays_has_a_map_and_a_micro_ap(copydays, tmp_path, options):
    dataset = open_dataset("copydays:copydays#strong?distractors=other", options)
    tools = Tools(Extractor(ExtractSettings(tmp_path / "f", device="cpu", workers=1)))
    for task, metric in ((Retrieval(), "mAP"), (Retrieval(), "mrr"), (Copies(), "micro_ap")):
        answers = task.run(freeze(load("pixels")), {"dataset": [dataset]}, tools, 0)
        assert 0 < next(each.value for each in answers if isinstance(each, Score) and each.metric == metric) <= 1


def test_data_check_counts_and_reads_every_image(copydays, disc, tmp_path, options):
    lines, sound = check("inria-copydays#strong", options, tmp_path / "store")
    assert not sound
    assert "split query: 3 images" in lines
    assert "differs: query has 3 images, officially 229" in lines
    lines, sound = check("disc21:DISC21", options, tmp_path / "store")
    assert sound, lines
    assert "split gallery: 6 images" in lines
    truth = disc / "dev_queries_groundtruth.csv"
    truth.write_text(truth.read_text().replace("Q00004,R000002", "Q00004,R000001"))
    lines, sound = check("disc21:DISC21", options, tmp_path / "store")
    assert not sound
    assert any(line.startswith("differs: manifest: it was") for line in lines)
    (copydays / COPIES[0]).write_bytes(b"no image")
    lines, sound = check("inria-copydays#strong", options, tmp_path / "store")
    assert not sound
    assert COPIES[0] in lines[0]
