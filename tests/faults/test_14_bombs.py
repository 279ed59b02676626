"""Case 14: images that declare more pixels than anyone should decode are refused by their header, in little memory."""

import io
import struct
import subprocess
import sys
import zlib

import pytest
from PIL import Image

from backbones.images import PIXEL_CAP, UnreadableImage, decode

CHILD = """
import sys
from pathlib import Path
from backbones.images import UnreadableImage, decode
data = Path(sys.argv[1]).read_bytes()
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
Path("/proc/self/clear_refs").write_text("5")
before = peak()
try:
    decode(data)
    print("decoded")
except UnreadableImage as error:
    print(peak() - before, error)
"""


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def test_a_one_bit_bomb_is_refused_in_little_memory(tmp_path):
    """14000 x 14000 at one bit is 24 MB packed in 25 kB; as RGB it would be 588 MB."""
    file = tmp_path / "bomb.png"
    Image.new("1", (14000, 14000)).save(file)
    assert file.stat().st_size < 100_000
    run = subprocess.run([sys.executable, "-c", CHILD, file], capture_output=True, text=True, check=True)
    mebibytes, _, message = run.stdout.partition(" ")
    assert "too large" in message
    assert float(mebibytes) < 16


@pytest.mark.parametrize(
    ("width", "height"), [(PIXEL_CAP + 1, 1), (9000, 9000), (13000, 13000), (2**31 - 1, 2**31 - 1)]
)
def test_a_png_header_that_declares_too_much(width, height):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )
    with pytest.raises(UnreadableImage, match=r"too large|cannot be decoded"):
        decode(data)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("orientation", [None, 6])
def test_a_jpeg_header_that_declares_too_much(orientation):
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG", exif=exif)
    data = bytearray(file.getvalue())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 60000, 60000)
    with pytest.raises(UnreadableImage, match="too large"):
        decode(bytes(data))


def test_a_large_image_below_the_cap_is_decoded():
    file = io.BytesIO()
    Image.new("1", (8000, 2000)).save(file, "PNG")
    assert decode(file.getvalue()).shape == (3, 2000, 8000)
