"""Case 25: archives that point outside, link, lie about sizes or inflate are refused, and nothing is written."""

import io
import stat
import tarfile
import zipfile

import pytest

from backbones.places import Places
from tasks.catalogue import open_dataset
from tasks.datasets import zip_source
from tasks.datasets.base import OpenOptions
from tasks.datasets.tar_source import TarFiles
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


def pack_tar(path, name, data=b"x", mode="w", **changes):
    with tarfile.open(path, mode) as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        for key, value in changes.items():
            setattr(entry, key, value)
        archive.addfile(entry, io.BytesIO(data))
    return path


@pytest.mark.parametrize("where", ["outer", "inner"])
@pytest.mark.parametrize(
    "name", ["../evil.JPEG", "/tmp/evil.JPEG", "a/../../evil.JPEG", "..\\evil.JPEG", "C:/evil.JPEG"]
)
def test_tar_members_outside_are_refused_and_nothing_is_written(name, where, tmp_path):
    root = tmp_path / "data" / "imagenet"
    root.mkdir(parents=True)
    evil = pack_tar(tmp_path / "evil.tar", name)
    pack_tar(root / "ILSVRC2012_img_train.tar", *([name] if where == "outer" else ["n01440764.tar", evil.read_bytes()]))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="points outside the archive"):
        open_dataset("imagenet-1k", OpenOptions(Places((tmp_path / "data",)), tmp_path / "cache", download=False))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_tar_links_and_devices_are_refused(kind, tmp_path):
    path = pack_tar(tmp_path / "a.tar", "cat/a.png", b"", type=kind, linkname="/etc/passwd")
    with pytest.raises(ValueError, match="is a link, a device or sparse"):
        TarFiles(path)


def test_a_tar_that_is_cut_off_is_refused_wherever_it_ends(tmp_path):
    path = pack_tar(
        tmp_path / "a.tar", "n01440764.tar", pack_tar(tmp_path / "b.tar", "a.JPEG", bytes(700)).read_bytes()
    )
    whole = path.read_bytes()
    assert TarFiles(path).read("n01440764/a.JPEG") == bytes(700)
    needed = 512 + 512 + 1024  # two headers, and the image in blocks of 512; the empty blocks at the end may go
    for length in range(1, needed, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="cannot be read in place as a tar archive"):
            TarFiles(path)


def test_an_inner_tar_ends_where_it_says(tmp_path):
    """One that claims more than its own bytes would read its neighbour's."""
    lie = bytearray(pack_tar(tmp_path / "b.tar", "a.JPEG", bytes(700)).read_bytes()[:1536])
    outer = pack_tar(tmp_path / "a.tar", "n01440764.tar", bytes(lie[:1024]))
    pack_tar(outer, "n01443537.tar", bytes(lie), mode="a")
    with pytest.raises(ValueError, match="lies beyond the end of its archive"):
        TarFiles(outer)


def test_a_packed_or_foreign_file_and_a_name_twice_are_refused(tmp_path):
    twice = pack_tar(pack_tar(tmp_path / "twice.tar", "a.JPEG"), "a.JPEG", mode="a")
    packed = pack_tar(tmp_path / "packed.tar", "a.JPEG", mode="w:gz")
    (tmp_path / "text.tar").write_text("no archive" * 100)
    for path, message in (
        (twice, "there twice"),
        (packed, "cannot be read in place"),
        (tmp_path / "text.tar", "cannot"),
    ):
        with pytest.raises(ValueError, match=message):
            TarFiles(path)
