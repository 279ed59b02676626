"""Case 12: truncated, empty, HTML and no images among good ones stop the opening, or are skipped and counted."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from backbones.places import Places
from tasks.catalogue import open_dataset
from tasks.datasets.base import OpenOptions


def jpeg(seed):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


BAD = {
    "cut.jpg": jpeg(0)[:400],
    "empty.jpg": b"",
    "page.jpg": b"<!DOCTYPE html><html>404</html>",
    "text.png": b"hello",
}


@pytest.fixture
def options(tmp_path):
    for seed in range(6):
        folder = tmp_path / "set" / "ab"[seed % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{seed}.jpg").write_bytes(jpeg(seed + 1))
    for name, data in BAD.items():
        (tmp_path / "set" / "a" / name).write_bytes(data)
    (tmp_path / "set" / "b" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    return OpenOptions(Places((tmp_path,)), tmp_path / "cache")


def test_all_of_them_are_listed_with_reasons_at_every_opening(options):
    for _ in range(2):  # the second time from what was remembered
        with pytest.raises(ValueError, match=r"5 of 11 images cannot be read.*--skip-unreadable") as caught:
            open_dataset("images:set", options)
        lines = str(caught.value).splitlines()[1:]
        assert sorted(line.split(": ")[0].split("/")[1] for line in lines) == sorted([*BAD, "gone.jpg"])
        assert all(len(line.split(": ", 1)[1]) > 5 for line in lines)


def test_skipping_counts_them_and_moves_no_neighbour(options):
    dataset = open_dataset("images:set", replace(options, skip_unreadable=True))
    assert (dataset.n_total, dataset.n_used) == (11, 6)
    assert any(warning.startswith("5 of 11 images could not be read") for warning in dataset.warnings)
    split = dataset.splits["all"]
    for index, name in enumerate(split.images.names):
        assert split.images.read(index) == jpeg(int(name[-5]) + 1)
        assert dataset.classes[split.labels[index]] == name.split("/")[0]


def test_a_mended_image_is_seen(options, tmp_path):
    for name in BAD:
        (tmp_path / "set" / "a" / name).unlink()
    (tmp_path / "set" / "b" / "gone.jpg").unlink()
    bad = tmp_path / "set" / "a" / "0.jpg"
    bad.write_bytes(b"")
    with pytest.raises(ValueError, match="1 of 6"):
        open_dataset("images:set", options)
    bad.write_bytes(jpeg(9))
    assert open_dataset("images:set", options).n_used == 6


def test_nothing_readable_is_an_error_even_when_skipping(tmp_path):
    (tmp_path / "only" / "a").mkdir(parents=True)
    (tmp_path / "only" / "a" / "x.jpg").write_bytes(b"")
    options = OpenOptions(Places((tmp_path,)), tmp_path / "cache", skip_unreadable=True)
    with pytest.raises(ValueError, match="none of its 1 images"):
        open_dataset("images:only", options)
