"""digits[#inverted|rotated|noisy|blurred|retrieval] - 1,797 real handwritten digits, 8x8, always there.

For instance ``digits`` (train and test), ``digits#rotated`` (its test images only, turned: for a probe trained on
``digits``), or ``digits#retrieval`` (the test images ask for those of train).
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter

from backbones.plugins import unknown
from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions, carve
from tasks.datasets.lossless_png import encode_png
from tasks.datasets.manifest import Item
from tasks.datasets.sources import MemoryFiles

Pixels = UInt8[np.ndarray, "8 8"]

TEST_SHARE = 1 / 3
ORIGIN = "scikit-learn load_digits (UCI Optical Recognition of Handwritten Digits); the train/test split is ours"


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open scikit-learn's digits, with a fixed stratified split of ours: 2/3 train, 1/3 test, no val.

    ``#inverted``, ``#rotated``, ``#noisy`` and ``#blurred`` hold the test images only, changed: a probe trained on
    ``digits`` has seen none of them. ``#retrieval`` asks with the test images for those of train.
    """
    from sklearn.datasets import load_digits

    variant = reference.lstrip("#")
    if variant not in ("", "retrieval", *SHIFTS):
        raise unknown("variant of dataset 'digits',", variant, ["retrieval", *SHIFTS])
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    rows = dict(zip(("train", "test"), carve(labels, TEST_SHARE, seed=0), strict=True))
    if variant in SHIFTS:
        del rows["train"]
    names = {"train": "gallery", "test": "query"} if variant == "retrieval" else {}
    change = SHIFTS.get(variant, _unchanged)
    contents, items = {}, []
    for split in rows:
        for row in rows[split]:
            file = f"{names.get(split, split)}/{labels[row]}/{row:04}.png"
            contents[file] = encode_png(change(images[row], np.random.default_rng(int(row))))
            items.append(Item(names.get(split, split), str(labels[row]), file, file))
    found = Found(
        name=f"digits#{variant}" if variant else "digits",
        source=MemoryFiles(f"digits#{variant}", contents),
        items=items,
        classes=tuple(map(str, range(10))),
        origin=ORIGIN,
        licence="CC BY 4.0",
        made_here=True,
    )
    return assemble(found, options)


def _unchanged(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    return pixels


def _inverted(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    return 255 - pixels


def _rotated(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    """By 30 degrees: tilted writing, yet no 6 becomes a 9."""
    return np.asarray(Image.fromarray(pixels).rotate(30, Image.Resampling.BILINEAR)).copy()


def _noisy(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    """Uniform whole-number noise, drawn anew for each image from its own seed."""
    return np.clip(pixels + generator.integers(-96, 97, pixels.shape), 0, 255).astype(np.uint8)


def _blurred(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1))).copy()


SHIFTS: Mapping[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "inverted": _inverted,
    "rotated": _rotated,
    "noisy": _noisy,
    "blurred": _blurred,
}

DATASETS = {"digits": read}
