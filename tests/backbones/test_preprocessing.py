"""Preprocessing against timm's and torchvision's own evaluation transforms, and the fast path against PIL."""

import numpy as np
import pytest
import timm.data
import torch
from PIL import Image
from torchvision.models import EfficientNet_B0_Weights, ResNet18_Weights, ViT_B_16_Weights

from backbones.base import Preprocess
from backbones.preprocessing import (
    LARGEST_TOLERANCE,
    MEAN_TOLERANCE,
    choose,
    fast_transform,
    fit_by,
    normalise,
    pil_transform,
    reference_transform,
)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def photograph(width, height, seed=0):
    """Smooth blobs and a little grain, as an image has them."""
    random = np.random.default_rng(seed)
    image = np.zeros((height, width, 3))
    for side, strength in ((5, 120), (20, 60), (100, 25)):
        noise = Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8))
        image += (np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC)) / 255 - 0.5) * strength
    return Image.fromarray(np.clip(image + 128 + random.normal(0, 3, image.shape), 0, 255).astype(np.uint8))


def tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


SIZES = [(500, 375), (375, 500), (300, 300), (40, 31), (227, 256), (1000, 90)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("side", "share"), [(224, 0.875), (96, 1.0), (160, 0.95)])
def test_reference_is_timms(size, interpolation, side, share):
    theirs = timm.data.create_transform(
        (3, side, side), interpolation=interpolation, crop_pct=share, mean=MEAN, std=STD
    )
    ours = reference_transform(Preprocess((side, side), int(side / share), "center", interpolation, MEAN, STD))
    image = photograph(*size)
    assert torch.equal(ours(image), theirs(image))


@pytest.mark.parametrize("size", SIZES)
def test_squash_is_timms(size):
    theirs = timm.data.create_transform(
        (3, 64, 96), interpolation="bicubic", crop_pct=1.0, crop_mode="squash", mean=MEAN, std=STD
    )
    ours = reference_transform(Preprocess((64, 96), 64, "squash", "bicubic", MEAN, STD))
    image = photograph(*size)
    assert torch.equal(ours(image), theirs(image))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "weights", [ResNet18_Weights.IMAGENET1K_V1, EfficientNet_B0_Weights.IMAGENET1K_V1, ViT_B_16_Weights.DEFAULT]
)
def test_reference_is_torchvisions(size, weights):
    theirs = weights.transforms()
    ours = reference_transform(
        Preprocess(
            (theirs.crop_size[0],) * 2,
            theirs.resize_size[0],
            "center",
            theirs.interpolation.value,
            tuple(theirs.mean),
            tuple(theirs.std),
        )
    )
    image = photograph(*size)
    assert torch.equal(ours(image), theirs(image))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop", ["center", "center_floor", "squash", "pad"])
def test_fast_is_within_the_stated_tolerance_on_photographs(size, interpolation, crop):
    preprocess = Preprocess((112, 112), 112 if crop == "pad" else 128, crop, interpolation, MEAN, STD)
    image = tensor(photograph(*size))
    difference = (fast_transform(preprocess)(image).int() - pil_transform(preprocess)(image).int()).abs()
    assert difference.float().mean() <= MEAN_TOLERANCE
    assert difference.max() <= LARGEST_TOLERANCE
    assert choose(preprocess, [image]) == "fast"


def test_pil_is_chosen_where_fast_strays():
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 600, 400), dtype=np.uint8))
    strays = Preprocess((384, 384), 384, "squash", "bicubic", MEAN, STD)
    assert choose(strays, [noise]) == "pil"


def test_pil_path_normalised_is_the_reference():
    preprocess = Preprocess((50, 60), 70, "center", "bicubic", MEAN, STD)
    image = photograph(123, 99)
    mine = normalise(fit_by("pil", preprocess)(tensor(image))[None], preprocess)[0]
    torch.testing.assert_close(mine, reference_transform(preprocess)(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", ["fast", "pil"])
def test_a_strip_stays_small(path):
    """Resizing all of 1 x 5000 to a shorter side of 256 would make 327 million pixels; only its middle is wanted."""
    strip = torch.arange(5000).remainder(256).to(torch.uint8).expand(3, 1, 5000)
    preprocess = Preprocess((224, 224), 256, "center", "nearest", MEAN, STD)
    fitted = fit_by(path, preprocess)(strip)
    assert fitted.shape == (3, 224, 224)
    assert fitted.unique().tolist() == [2499 % 256, 2500 % 256]


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("shape", [(4, 3, 30, 20), (1, 3, 1, 1), (2, 3, 1, 5), (1, 3, 7, 1)])
def test_normalise_is_the_three_steps_in_either_layout(layout, shape):
    preprocess = Preprocess((30, 20), 30, "center", "bilinear", MEAN, STD)
    batch = torch.randint(0, 256, shape, dtype=torch.uint8).to(memory_format=layout)
    before = batch.clone()
    found = normalise(batch, preprocess)
    expected = (batch.double() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    assert (found - expected).abs().max() < 1e-6
    assert found.is_contiguous(memory_format=layout)
    assert torch.equal(batch, before)


@pytest.mark.parametrize("path", ["fast", "pil"])
def test_centres_differ_only_where_half_a_margin_is_rounded(path):
    """A margin of 5: torchvision leaves 2 before, as transformers does; of 7: 4 and 3."""
    columns = torch.arange(64).to(torch.uint8).expand(3, 64, 64)
    for side, theirs, floor in ((59, 2, 2), (57, 4, 3)):
        for crop, first in (("center", theirs), ("center_floor", floor)):
            fitted = fit_by(path, Preprocess((side, side), 64, crop, "bilinear", MEAN, STD))(columns)
            assert fitted[0, 0].tolist() == list(range(first, first + side))


@pytest.mark.parametrize("path", ["fast", "pil"])
def test_padding_is_the_mean_colour_below_and_on_the_right(path):
    """Segment Anything's rule by hand: 30 x 20 becomes 48 x 32 (20 * 48 / 30), the rest of 50 x 50 the mean."""
    preprocess = Preprocess((50, 50), 48, "pad", "bilinear", MEAN, STD)
    fitted = fit_by(path, preprocess)(torch.full((3, 20, 30), 200, dtype=torch.uint8))
    assert (fitted[:, :32, :48] == 200).all()
    outside = torch.cat([fitted[:, 32:].flatten(1), fitted[:, :, 48:].flatten(1)], 1)
    assert outside.unique(dim=1).flatten().tolist() == [124, 116, 104]
    assert (normalise(fitted[None], preprocess)[0, :, 32:] == 0).all()
    assert (normalise(fitted[None], preprocess)[0, :, :32, :48] != 0).all()
