"""Case 9, data: one changed image gives the dataset another identity, though its hashes are remembered."""

import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from backbones.places import Places
from tasks.catalogue import open_dataset
from tasks.datasets import content_hashes
from tasks.datasets.base import OpenOptions
from tasks.datasets.folder_source import FolderFiles


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.setattr(content_hashes, "SETTLED_SECONDS", 0.0)
    for seed in range(4):
        path = tmp_path / "set" / "ab"[seed % 2] / f"{seed}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), seed * 20, dtype=np.uint8)).save(path)
    return OpenOptions(Places((tmp_path,)), tmp_path / "cache")


def count_reads(monkeypatch):
    reads = []
    original = FolderFiles.read
    monkeypatch.setattr(FolderFiles, "read", lambda self, name: (reads.append(name), original(self, name))[1])
    return reads


def test_second_opening_reads_nothing_and_one_change_reads_one(tmp_path, options, monkeypatch):
    first = open_dataset("images:set", options)
    reads = count_reads(monkeypatch)
    assert open_dataset("images:set", options).manifest_sha256 == first.manifest_sha256
    assert reads == []
    path = tmp_path / "set" / "a" / "2.bmp"
    status = path.stat()
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(bytes(changed))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # same size, same inode, same time of change
    second = open_dataset("images:set", options)
    assert second.manifest_sha256 != first.manifest_sha256
    assert second.splits["all"].images.identity != first.splits["all"].images.identity
    assert set(reads) == {"a/2.bmp"}


def test_renamed_class_and_moved_split_change_the_identity_too(tmp_path, options):
    first = open_dataset("images:set", options)
    (tmp_path / "set" / "b").rename(tmp_path / "set" / "c")
    assert open_dataset("images:set", options).manifest_sha256 != first.manifest_sha256


def test_recent_files_are_not_remembered(options, monkeypatch):
    monkeypatch.setattr(content_hashes, "SETTLED_SECONDS", 3600.0)
    open_dataset("images:set", options)
    reads = count_reads(monkeypatch)
    open_dataset("images:set", options)
    assert len(reads) == 4


@pytest.mark.parametrize("damage", [b"", b"{", b"0" * 64 + b"\n{}"])
def test_damaged_tables_are_recomputed(damage, tmp_path, options):
    first = open_dataset("images:set", options)
    tables = list((tmp_path / "cache" / "datasets").iterdir())
    assert len(tables) == 2
    for table in tables:
        table.write_bytes(damage)
    assert open_dataset("images:set", options).manifest_sha256 == first.manifest_sha256


def test_rewritten_zip_is_noticed(tmp_path, options):
    def pack():
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for path in sorted((tmp_path / "set").rglob("*.bmp")):
                archive.write(path, path.relative_to(tmp_path / "set"))

    pack()
    first = open_dataset("images:set.zip", options)
    path = tmp_path / "set" / "a" / "0.bmp"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    pack()
    assert open_dataset("images:set.zip", options).manifest_sha256 != first.manifest_sha256
