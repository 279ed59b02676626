"""Bytes to RGB, for every kind of file, against values worked out by hand or by an independent conversion."""

import hashlib
import io
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import backbones.images
from backbones.images import Images, UnreadableImage, decode, to_pil, torchvision_decoder

SCENE = (np.indices((48, 64)).sum(axis=0)[..., None] * np.array([1, 2, 3]) % 256).astype(np.uint8)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(data):
    return decode(data).permute(1, 2, 0).numpy()


def by_pillow(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def sixteen_bit_png(values):
    """A PNG of 16-bit (height, width, channels) written by hand: Pillow cannot write colour at that depth."""
    import struct
    import zlib

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    height, width, channels = values.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"optimize": True, "quality": 40}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_both_jpeg_paths_give_the_same_pixels(mode, options):
    data = encoded(Image.fromarray(SCENE).convert(mode), "JPEG", **options)
    assert np.array_equal(pixels(data), by_pillow(data))


def test_pillow_path_of_a_jpeg_with_exif_gives_the_same_pixels():
    exif = Image.Exif()
    exif[0x010F] = "maker"
    plain = encoded(Image.fromarray(SCENE), "JPEG")
    tagged = encoded(Image.fromarray(SCENE), "JPEG", exif=exif)
    assert np.array_equal(pixels(plain), pixels(tagged))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(SCENE), kind, exif=exif, **options)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    found = pixels(data)
    assert np.array_equal(found, np.asarray(upright))
    assert found.shape == ((48, 64, 3) if orientation < 5 else (64, 48, 3))


def test_damaged_exif_counts_as_none():
    data = encoded(Image.fromarray(SCENE), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff nonsense")
    assert pixels(data).shape == (48, 64, 3)


def test_cmyk_is_converted_and_adobes_inversion_undone():
    cmyk = Image.new("CMYK", (8, 8), (255, 0, 0, 0))  # pure cyan ink
    for data in (encoded(cmyk, "JPEG", quality=100), encoded(cmyk, "TIFF")):
        assert np.abs(pixels(data).astype(int) - [0, 255, 255]).max() <= 3


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_scaled_not_clipped(channels):
    values = np.arange(0, 65536, 16, dtype=np.int64).reshape(64, 64, 1).repeat(channels, axis=2)
    expected = np.floor(values / 257 + 0.5).astype(np.uint8)
    assert np.array_equal(pixels(sixteen_bit_png(values)), np.broadcast_to(expected, (64, 64, 3)))


@pytest.mark.parametrize("channels", [2, 4])
def test_16_bit_alpha_is_composited_over_white(channels):
    values = np.full((4, 4, channels), 20000)
    values[..., -1] = 32768
    half = 32768 / 65535
    expected = round((20000 * half + 65535 * (1 - half)) / 257)
    assert np.abs(pixels(sixteen_bit_png(values)).astype(int) - expected).max() <= 1


def test_16_bit_tiff_and_pgm_are_scaled():
    values = (np.arange(4096).reshape(64, 64) * 16).astype(np.uint16)
    expected = np.floor(values / 257 + 0.5).astype(np.uint8)[..., None].repeat(3, axis=2)
    assert np.array_equal(pixels(encoded(Image.fromarray(values), "TIFF")), expected)
    assert np.array_equal(pixels(b"P5 64 64 65535\n" + values.astype(">u2").tobytes()), expected)


@pytest.mark.parametrize(("mode", "value"), [("F", 0.5), ("I", 1_000_000)])
def test_pixels_without_a_range_are_refused(mode, value):
    with pytest.raises(UnreadableImage, match="32 bits"):
        decode(encoded(Image.new(mode, (4, 4), value), "TIFF"))


def test_palette_with_transparency_is_composited_over_white():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    data = encoded(image, "PNG", transparency=1)
    assert pixels(data).tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize(("mode", "value", "over_white"), [("LA", (100, 51), 224), ("RGBA", (100, 100, 100, 51), 224)])
def test_alpha_is_composited_over_white(mode, value, over_white):
    assert np.abs(pixels(encoded(Image.new(mode, (3, 2), value), "PNG")).astype(int) - over_white).max() <= 1


def test_grey_is_repeated():
    assert pixels(encoded(Image.new("L", (2, 2), 77), "PNG")).tolist() == [[[77] * 3] * 2] * 2
    assert pixels(encoded(Image.new("1", (2, 2), 1), "PNG")).tolist() == [[[255] * 3] * 2] * 2


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert pixels(data)[0, 0].tolist() == [255, 0, 0]


def test_a_strip():
    assert decode(encoded(Image.new("RGB", (5000, 1), "red"), "PNG")).shape == (3, 1, 5000)


def test_pixels_are_those_recorded():
    """Fixed files, fixed pixels: a new library version that decodes differently must be noticed."""
    data = encoded(Image.fromarray(SCENE), "PNG")
    assert hashlib.sha256(np.ascontiguousarray(pixels(data)).tobytes()).hexdigest() == hashlib.sha256(SCENE).hexdigest()


@pytest.mark.parametrize("tail", [b"", b"\0\0 garbage a camera left"])
def test_what_follows_a_whole_jpeg_is_ignored(tail):
    data = encoded(Image.fromarray(SCENE), "JPEG")
    assert np.array_equal(pixels(data + tail), by_pillow(data))


@pytest.mark.parametrize("exif", [False, True])
def test_a_jpeg_cut_anywhere_is_refused_never_grey(exif):
    tags = Image.Exif()
    tags[0x0112] = 1
    data = encoded(Image.fromarray(SCENE), "JPEG", **({"exif": tags} if exif else {}))
    for length in range(len(data) - 1):
        with pytest.raises(UnreadableImage):
            decode(data[:length])


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_other_kinds_cut_in_half_are_refused(kind):
    data = encoded(Image.fromarray(SCENE), kind)
    with pytest.raises(UnreadableImage):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>404</html>", "HTML page"),
        (b"\n <html>", "HTML page"),
        (b"just text", "no known image format"),
        (b"\xff\xd8", "cut short"),
    ],
)
def test_the_reason_is_named(data, reason):
    with pytest.raises(UnreadableImage, match=reason):
        decode(data)


@pytest.fixture(params=["absent", "raising", "other signature", "wrong"])
def without_torchvisions_decoders(request, monkeypatch):
    """A torchvision built without libjpeg and libpng, a broken one, and ones of another time."""

    def raising(data, mode, apply_exif):
        raise RuntimeError("no such operator")

    def wrong(data, mode, apply_exif):
        return torch.zeros(3, 8, 8, dtype=torch.uint8)

    operators = {"raising": raising, "other signature": lambda data: data, "wrong": wrong}
    found = operators.get(request.param)
    image = SimpleNamespace(decode_jpeg=found, decode_png=found) if found else SimpleNamespace()
    monkeypatch.setattr(torch, "ops", SimpleNamespace(image=image))
    torchvision_decoder.cache_clear()
    yield
    torchvision_decoder.cache_clear()


def test_torchvisions_decoders_are_there_and_silent():
    """With warnings as errors, in a process that has decoded nothing yet."""
    code = (
        "import io, warnings\nfrom PIL import Image\nfrom backbones.images import decode, torchvision_decoder\n"
        "warnings.simplefilter('error')\n"
        "file = io.BytesIO()\nImage.new('RGB', (8, 8)).save(file, 'JPEG')\n"
        "assert decode(file.getvalue()).shape == (3, 8, 8)\n"
        "assert torchvision_decoder('jpeg') and torchvision_decoder('png')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_pillow_takes_over(without_torchvisions_decoders):
    for mode in ("RGB", "L"):
        data = encoded(Image.fromarray(SCENE).convert(mode), "JPEG")
        assert np.array_equal(pixels(data), by_pillow(data))
    with pytest.raises(UnreadableImage):
        decode(data[: len(data) // 2])
    grey = np.arange(0, 65536, 16, dtype=np.int64).reshape(64, 64, 1)
    expected = np.floor(grey / 257 + 0.5).astype(np.uint8)
    assert np.array_equal(pixels(sixteen_bit_png(grey)), np.broadcast_to(expected, (64, 64, 3)))
    with pytest.raises(UnreadableImage, match="PNG of 16 bits with colour"):
        decode(sixteen_bit_png(grey.repeat(3, axis=2)))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pillow_and_torchvision_agree(mode, monkeypatch):
    data = encoded(Image.fromarray(SCENE).convert(mode), "JPEG", quality=50)
    with_operator = pixels(data)
    monkeypatch.setattr(backbones.images, "torchvision_decoder", lambda kind: None)
    assert np.array_equal(with_operator, pixels(data))


def test_to_pil_is_the_inverse():
    image = torch.from_numpy(SCENE).permute(2, 0, 1)
    assert np.array_equal(np.asarray(to_pil(image)), SCENE)


def test_anything_with_the_four_members_is_images():
    class Folder:
        identity, names = "x", ("a",)

        def __len__(self):
            return 1

        def read(self, index):
            return b""

    assert isinstance(Folder(), Images)
