"""Karpathy's split files for Flickr30k and COCO, against what was written."""

import json

import pytest

from tasks.catalogue import open_dataset

FLICKR = [
    ("b.png", "test", ["Two dogs.", "A dog and another ."]),
    ("a.png", "test", ["A man, of course", "Someone", "ein Bär"]),
    ("c.png", "train", ["A train."]),
    ("d.png", "val", []),
]
COCO = [
    ("train2014", "t.png", "train", ["one"]),
    ("val2014", "r.png", "restval", ["two"]),
    ("val2014", "v.png", "val", ["three"]),
    ("val2014", "x.png", "test", ["four\n", "five"]),
]


def sentences(captions):
    return [{"raw": raw, "tokens": raw.lower().split(), "imgid": 0, "sentid": 0} for raw in captions]


def write(path, images):
    path.write_text(json.dumps({"images": images, "dataset": path.stem}))


@pytest.fixture
def flickr(tmp_path, make_tree):
    make_tree(tmp_path / "flickr30k" / "flickr30k-images", [name for name, _, _ in FLICKR])
    images = [
        {"filename": name, "split": split, "sentences": sentences(captions), "imgid": 0, "sentids": []}
        for name, split, captions in FLICKR
    ]
    write(tmp_path / "flickr30k" / "dataset_flickr30k.json", images)
    return tmp_path / "flickr30k"


@pytest.fixture
def coco(tmp_path, make_tree):
    make_tree(tmp_path / "coco", [f"{folder}/{name}" for folder, name, _, _ in COCO])
    images = [
        {"filepath": folder, "filename": name, "split": split, "sentences": sentences(captions), "cocoid": 1}
        for folder, name, split, captions in COCO
    ]
    write(tmp_path / "coco" / "dataset_coco.json", images)
    return tmp_path / "coco"


def found_in(split):
    return {
        name: (split.images.read(row), split.captions[row], int(split.labels[row]))
        for row, name in enumerate(split.images.names)
    }


def test_flickr_is_what_was_written(flickr, options):
    dataset = open_dataset("flickr30k", options)
    assert (dataset.target, dataset.classes) == ("captions", ())
    for part in ("train", "val", "test"):
        assert found_in(dataset.splits[part]) == {
            f"flickr30k-images/{name}": ((flickr / "flickr30k-images" / name).read_bytes(), tuple(captions), -1)
            for name, split, captions in FLICKR
            if split == part
        }
    assert "test has 2 images, officially 1,000" in dataset.warnings


def test_coco_has_its_restval_in_train(coco, options):
    dataset = open_dataset("coco-karpathy", options)
    assert dataset.splits["train"].images.names == ("train2014/t.png", "val2014/r.png")
    assert dataset.splits["train"].captions == (("one",), ("two",))
    assert dataset.splits["test"].captions == (("four\n", "five"),)
    (coco / "train2014" / "t.png").unlink()
    with pytest.raises(ValueError, match="1 of 4 images cannot be read"):
        open_dataset("coco-karpathy", options)
    assert list(open_dataset("coco-karpathy#test", options).splits) == ["test"]


def test_captions_and_their_order_are_part_of_the_identity(flickr, options):
    path = flickr / "dataset_flickr30k.json"
    table = json.loads(path.read_text())
    seen = {open_dataset("karpathy:flickr30k#test", options).manifest_sha256}
    table["images"][0]["sentences"].reverse()
    write(path, table["images"])
    seen.add(open_dataset("karpathy:flickr30k#test", options).manifest_sha256)
    table["images"][0]["sentences"][0]["raw"] += "!"
    write(path, table["images"])
    seen.add(open_dataset("karpathy:flickr30k#test", options).manifest_sha256)
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: images[0].update(split="holdout"), "split 'holdout'; choose from train, restval, val, test"),
        (lambda images: images[0].update(filename="../../x.png"), "outside the set's folder"),
        (lambda images: images[1].update(filename="b.png"), "names 1 images more than once: flickr30k-images/b.png"),
        (lambda images: images[0].update(filename="z.png"), "1 of 4 images cannot be read"),
        (lambda images: images[0].pop("sentences"), "is damaged: an image lacks 'sentences'"),
        (lambda images: images[0].update(sentences=["text"]), "is damaged"),
        (
            lambda images: images[0]["sentences"][0].update(raw=None),
            "a sentence of 'flickr30k-images/b.png' is no text",
        ),
    ],
)
def test_lists_that_do_not_fit(change, message, flickr, options):
    path = flickr / "dataset_flickr30k.json"
    images = json.loads(path.read_text())["images"]
    change(images)
    write(path, images)
    with pytest.raises(ValueError, match=message):
        open_dataset("karpathy:flickr30k", options)


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_damaged_list_is_named(content, flickr, options):
    (flickr / "dataset_flickr30k.json").write_text(content)
    with pytest.raises(ValueError, match=r"dataset_flickr30k\.json is damaged"):
        open_dataset("karpathy:flickr30k", options)


def test_a_missing_list_and_an_unknown_part(flickr, options):
    with pytest.raises(ValueError, match="part 'restval'; choose from train, val, test"):
        open_dataset("karpathy:flickr30k#restval", options)
    (flickr / "dataset_flickr30k.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no file dataset_flickr30k\.json or dataset_coco\.json in .*karpathy"):
        open_dataset("karpathy:flickr30k", options)
