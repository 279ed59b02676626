"""Augmentation against timm's and torchvision's own, drawing from the same generators; and that it leaves no trace."""

import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from pydantic import ValidationError
from scipy.stats import ks_2samp
from timm.data import create_transform
from timm.data.random_erasing import RandomErasing
from torchvision.transforms import InterpolationMode, RandomResizedCrop

from backbones.base import Preprocess
from backbones.images import to_pil
from backbones.preprocessing import LARGEST_TOLERANCE, MEAN_TOLERANCE
from backbones.training import augment
from backbones.training.augment import ITEM_CHANCE, Augment, Patch
from backbones.training.augmentation import Augmentation
from backbones.training.seeded import seeded

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def preprocess(interpolation="bicubic", size=(64, 64)):
    return Preprocess(size, size[0], "center", interpolation, MEAN, STD)


@pytest.fixture(scope="module")
def photograph():
    """Smooth blobs with some grain, 150 x 200, channels innermost as decoded images are."""
    chance = np.random.default_rng(0)
    pixels = chance.normal(0, 4, (150, 200, 3))
    for side in (4, 12, 40):
        noise = Image.fromarray(chance.integers(0, 256, (side, side, 3), dtype=np.uint8))
        pixels += np.asarray(noise.resize((200, 150), Image.Resampling.BICUBIC)) / 3
    return torch.from_numpy(np.clip(pixels, 0, 255).astype(np.uint8)).permute(2, 0, 1)


@pytest.fixture
def resized_by_pil(monkeypatch):
    """So that what follows the crop can be compared bit for bit."""

    def resize(image, size, interpolation):
        resized = to_pil(image).resize(size[::-1], Image.Resampling[interpolation.upper()])
        return torch.from_numpy(np.array(resized)).permute(2, 0, 1)

    monkeypatch.setattr(augment, "resize", resize)


@pytest.mark.usefixtures("resized_by_pil")
@pytest.mark.parametrize(
    ("settings", "of_timm"),
    [
        ({}, {}),
        ({"interpolation": "random"}, {"interpolation": "random"}),
        ({"crop_scale": (0.5, 0.9), "crop_ratio": (0.5, 2)}, {"scale": (0.5, 0.9), "ratio": (0.5, 2)}),
        ({"colour_jitter": 0.4}, {"color_jitter": 0.4}),
        ({"rand_augment": "rand-m9-mstd0.5-inc1"}, {"auto_augment": "rand-m9-mstd0.5-inc1"}),
        (
            {"rand_augment": "rand-m6-n3-mstd0.5-inc1", "interpolation": "random", "colour_jitter": 0.4},
            {"auto_augment": "rand-m6-n3-mstd0.5-inc1", "interpolation": "random", "color_jitter": 0.4},
        ),
    ],
)
def test_the_same_pixels_as_timm(photograph, settings, of_timm):
    plain = {"interpolation": "bicubic", "color_jitter": None, "mean": MEAN, "std": STD, "normalize": False}
    theirs = create_transform((3, 64, 64), is_training=True, **{**plain, **of_timm})
    ours = Augment(Augmentation(**settings), preprocess(), seed=3)
    compared = 0
    for index in range(60):
        with seeded(3, ITEM_CHANCE, 1, index):
            try:
                expected = theirs(to_pil(photograph))
            except ValueError as error:  # timm 1.0.31 with Pillow 13, which we mend
                assert "bits" in str(error)  # noqa: PT017
                continue
        found, patch = ours(photograph, 1, index)
        assert patch is None
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        compared += 1
    assert compared > 50


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_crop_and_resize_are_torchvisions_to_a_grey_level(photograph, interpolation):
    """The box is timm's, whose law is torchvision's; the pixels are held against PIL's of the same box."""
    ours = Augment(Augmentation(flip=0), preprocess(interpolation), seed=0)
    boxes = []
    for index in range(40):
        with seeded(0, ITEM_CHANCE, 0, index):
            box = ours._box(photograph, (0.08, 1), (3 / 4, 4 / 3))
        boxes.append(box)
        top, left, height, width = box
        cut = to_pil(photograph).crop((left, top, left + width, top + height))
        expected = np.asarray(cut.resize((64, 64), Image.Resampling[interpolation.upper()])).astype(int)
        difference = np.abs(ours(photograph, 0, index)[0].permute(1, 2, 0).numpy() - expected)
        assert difference.mean() <= MEAN_TOLERANCE
        assert difference.max() <= LARGEST_TOLERANCE
    theirs = RandomResizedCrop(64, interpolation=InterpolationMode(interpolation))
    torch.manual_seed(0)
    law = [theirs.get_params(photograph, theirs.scale, theirs.ratio) for _ in range(2000)]
    for index in range(40, 2000):
        with seeded(0, ITEM_CHANCE, 0, index):
            boxes.append(ours._box(photograph, (0.08, 1), (3 / 4, 4 / 3)))
    for axis in range(4):
        assert ks_2samp(np.array(boxes)[:, axis], np.array(law)[:, axis]).pvalue > 0.01


def test_pure_in_seed_epoch_and_index(photograph):
    everything = Augmentation(rand_augment="rand-m9-mstd0.5-inc1", interpolation="random", erasing=0.5)

    def at(seed, epoch, index):
        return Augment(everything, preprocess(), seed)(photograph, epoch, index)

    places = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (5, 7, 11)]
    first = [at(*place) for place in places]
    random.seed(99), np.random.seed(99), torch.manual_seed(99)
    for place, (pixels, patch) in zip(reversed(places), reversed(first), strict=True):
        again, patch_again = at(*place)
        assert torch.equal(pixels, again)
        assert (patch is None) == (patch_again is None)
        if isinstance(patch, Patch):
            assert patch[:2] == patch_again[:2]
            assert torch.equal(patch.noise, patch_again.noise)
    assert not any(torch.equal(first[0][0], other) for other, _ in first[1:])


@pytest.mark.parametrize("rand_augment", [None, "rand-m9-mstd0.5-inc1"])
def test_generators_go_on_as_if_nothing_had_been_drawn(photograph, rand_augment):
    augment = Augment(Augmentation(rand_augment=rand_augment, colour_jitter=0.4, erasing=1.0), preprocess(), 0)

    def draws(between):
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        random.gauss(0, 1), np.random.normal(), torch.randn(1)  # each has a second value in store
        between()
        return random.gauss(0, 1), random.random(), np.random.normal(), np.random.rand(), torch.randn(3).tolist()

    assert draws(lambda: augment(photograph, 0, 0)) == draws(lambda: None)


def test_an_image_of_the_input_size_is_not_resized(photograph):
    whole = Augmentation(crop_scale=(1, 1), crop_ratio=(4 / 3, 4 / 3), flip=0)
    assert torch.equal(Augment(whole, preprocess(size=(150, 200)), 0)(photograph, 0, 0)[0], photograph)
    mirrored = Augmentation(crop_scale=(1, 1), crop_ratio=(4 / 3, 4 / 3), flip=1)
    assert torch.equal(Augment(mirrored, preprocess(size=(150, 200)), 0)(photograph, 0, 0)[0], photograph.flip(2))


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1)])
def test_strips_are_cropped_too(shape):
    image = torch.randint(0, 256, (*shape, 3), dtype=torch.uint8).permute(2, 0, 1)
    pixels, _ = Augment(Augmentation(rand_augment="rand-m9"), preprocess(), 0)(image, 0, 0)
    assert pixels.shape == (3, 64, 64)


def test_erasing_has_the_law_of_timm():
    """How often, how large, of what shape, where, and with what noise."""
    pixels = torch.zeros(3, 48, 64, dtype=torch.uint8)
    augment = Augment(Augmentation(erasing=0.25), preprocess(size=(48, 64)), 0)
    ours = [patch for index in range(4000) if (patch := augment(pixels, 0, index)[1]) is not None]
    assert abs(len(ours) / 4000 - 0.25) < 4 * (0.25 * 0.75 / 4000) ** 0.5
    theirs, erase = [], RandomErasing(1.0, mode="pixel", device="cpu")
    random.seed(0), torch.manual_seed(0)
    for _ in range(1000):
        rows, columns = torch.nonzero(erase(torch.zeros(3, 48, 64))[0], as_tuple=True)
        top, left = int(rows.min()), int(columns.min())
        theirs.append((top, left, int(rows.max()) - top + 1, int(columns.max()) - left + 1))
    found = np.array([(patch.top, patch.left, *patch.noise.shape[1:]) for patch in ours])
    for axis in range(4):
        assert ks_2samp(found[:, axis], np.array(theirs)[:, axis]).pvalue > 0.01
    noise = torch.cat([patch.noise.flatten() for patch in ours])
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01


@pytest.mark.parametrize("bits", range(9))
def test_posterising_is_pillows_and_black_for_no_bits(photograph, bits):
    image = to_pil(photograph)
    expected = ImageOps.posterize(image, bits) if bits else Image.new("RGB", image.size)
    assert augment._posterize(image, bits, resample=3, fillcolor=(1, 2, 3)).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rand_augment": "rand-mx9"}, "should match pattern"),
        ({"rand_augment": "rand-m9-q3"}, "should match pattern"),
        ({"rand_augment": "augmix-m3"}, "should match pattern"),
        ({"crop_scale": (0.9, 0.5)}, r"crop_scale must be \(lowest, highest\), not \(0.9, 0.5\)"),
        ({"crop_scale": (0.5, 1.5)}, "less than or equal to 1"),
        ({"crop_ratio": (2, 1)}, "crop_ratio must be"),
        ({"flip": 1.5}, "less than or equal to 1"),
        ({"mixup": -0.1}, "greater than or equal to 0"),
        ({"interpolation": "lanczos"}, "'backbone' or 'random'"),
        ({"cutout": 1}, "Unexpected keyword argument"),
    ],
)
def test_mistakes_in_settings_are_named(settings, message):
    with pytest.raises(ValidationError, match=message):
        Augmentation(**settings)
