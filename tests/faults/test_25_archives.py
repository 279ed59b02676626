"""Case 25: archives that point outside, link, lie about sizes or inflate are refused, and nothing is written."""

import stat
import zipfile

import pytest

from backbones.places import Places
from tasks.catalogue import open_dataset
from tasks.datasets import zip_source
from tasks.datasets.base import OpenOptions
from tasks.datasets.zip_source import ZipFiles


def pack(path, name, data=b"x", kind=zipfile.ZIP_STORED, mode=0o644 | stat.S_IFREG):
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr, entry.compress_type = mode << 16, kind
        archive.writestr(entry, data)
    return path


@pytest.mark.parametrize("name", ["../evil.png", "/tmp/evil.png", "a/../../evil.png", "..\\evil.png", "C:/evil.png"])
def test_members_outside_are_refused_and_nothing_is_written(name, tmp_path):
    inside = tmp_path / "data"
    inside.mkdir()
    pack(inside / "set.zip", name)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="points outside the archive"):
        open_dataset("images:set.zip", OpenOptions(Places((inside,)), tmp_path / "cache"))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_are_refused(kind, tmp_path):
    with pytest.raises(ValueError, match="link or a device"):
        ZipFiles(pack(tmp_path / "a.zip", "cat/a.png", mode=0o777 | kind))


def test_sizes_and_counts_are_capped(tmp_path, monkeypatch):
    bomb = pack(tmp_path / "bomb.zip", "cat/a.png", bytes(10**7), zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(zip_source, "MAX_MEMBER_BYTES", 10**6)
    with pytest.raises(ValueError, match="claims 10000000 bytes"):
        ZipFiles(bomb)
    monkeypatch.setattr(zip_source, "MAX_MEMBERS", 0)
    with pytest.raises(ValueError, match="has 1 members"):
        ZipFiles(bomb)


def test_inflating_stops_at_the_size_that_was_stated(tmp_path):
    path = pack(tmp_path / "lie.zip", "cat/a.png", bytes(10**6), zipfile.ZIP_DEFLATED)
    source = ZipFiles(path)
    offset, packed, _, deflated, checksum = source._members["cat/a.png"]
    source._members["cat/a.png"] = (offset, packed, 100, deflated, checksum)
    with pytest.raises(ValueError, match="checksum does not match"):
        source.read("cat/a.png")


def test_other_compression_says_how_to_store(tmp_path):
    with pytest.raises(ValueError, match="zip -0 -r"):
        ZipFiles(pack(tmp_path / "a.zip", "cat/a.png", kind=zipfile.ZIP_BZIP2))


def test_same_name_twice_is_refused(tmp_path):
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat/a.png", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("cat/a.png", b"2")
    with pytest.raises(ValueError, match="there twice"):
        ZipFiles(path)


def test_every_flipped_byte_of_a_member_and_every_cut_is_found(tmp_path):
    data = bytes(range(200))
    path = pack(tmp_path / "a.zip", "cat/a.png", data)
    whole = path.read_bytes()
    start = whole.index(data)
    for position in range(start, start + len(data), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(ValueError, match=r"damaged at member 'cat/a\.png'"):
            ZipFiles(path).read("cat/a.png")
    for length in range(0, len(whole), 11):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="not a readable zip"):
            ZipFiles(path)
