"""Case 13: unusual kinds of images beside ordinary ones give the features of their defined RGB values.

What each kind decodes to is tested in ``tests/backbones/test_images.py``; here, that extraction takes them all.
"""

import io

import numpy as np
from PIL import Image

from backbones.features import Extractor, ExtractSettings
from tests.feature_fakes import Fake, MemoryImages


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_one_colour_in_every_kind_gives_one_feature(tmp_path):
    """(102, 102, 102) said in a dozen ways."""
    grey, level = Image.new("RGB", (40, 30), (102,) * 3), 102
    turned = Image.Exif()
    turned[0x0112] = 6
    palette = Image.new("P", (40, 30))
    palette.putpalette([level] * 3)
    kinds = {
        "rgb.png": encoded(grey, "PNG"),
        "grey.jpg": encoded(grey.convert("L"), "JPEG"),
        "colour.jpg": encoded(grey, "JPEG"),
        "cmyk.jpg": encoded(Image.new("CMYK", (40, 30), (0, 0, 0, 255 - level)), "JPEG"),
        "16-bit.png": encoded(Image.fromarray(np.full((30, 40), level * 257, np.uint16)), "PNG"),
        "palette.png": encoded(palette, "PNG"),
        "alpha.png": encoded(Image.new("LA", (40, 30), (0, 255 - level)), "PNG"),
        "rgba.png": encoded(Image.new("RGBA", (40, 30), (0, 0, 0, 255 - level)), "PNG"),
        "turned.jpg": encoded(grey, "JPEG", exif=turned),
        "strip.png": encoded(grey.resize((5000, 1)), "PNG"),
        "animated.gif": encoded(grey, "GIF", save_all=True, append_images=[Image.new("RGB", (40, 30), "red")]),
        "animated.webp": encoded(
            grey, "WEBP", lossless=True, save_all=True, append_images=[Image.new("RGB", (40, 30), "red")]
        ),
    }
    images = MemoryImages(list(kinds.values()))
    found = Extractor(ExtractSettings(tmp_path, device="cpu"))(Fake(), images)
    for name, row in zip(kinds, found, strict=True):
        np.testing.assert_allclose(row, found[0], atol=1.01 / 255 / 0.2, err_msg=name)
