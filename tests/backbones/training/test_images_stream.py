"""Images to batches, against the plain way: decode, vary, scale, normalise, one by one."""

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot
from torchvision.transforms import v2

from backbones.base import Preprocess
from backbones.images import UnreadableImage, decode
from backbones.training.augment import Augment
from backbones.training.augmentation import Augmentation
from backbones.training.images_stream import ImagesStream
from backbones.training.loader import Wanted, load
from backbones.training.mixing import choose_mix, mix_images, mix_targets
from backbones.training.stream import Stream
from tests.feature_fakes import random_images

CPU = torch.device("cpu")
PREPROCESS = Preprocess((16, 16), 16, "center", "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PLAIN = Augmentation()
EVERYTHING = Augmentation(rand_augment="rand-m9-mstd0.5-inc1", erasing=0.5, mixup=0.8, cutmix=1.0)
ROWS = np.arange(30)[::-2]
CLASSES = np.arange(15) % 3


def stream(augmentation=PLAIN, targets=CLASSES, classes=3, rows=ROWS, images=None):
    return ImagesStream(images or random_images(30), rows, targets, PREPROCESS, augmentation, 5, classes)


def plain_batch(indices, epoch, augmentation):
    images = random_images(30)
    augment = Augment(augmentation, PREPROCESS, 5)
    batch = []
    for index in indices:
        pixels, patch = augment(decode(images.read(int(ROWS[index]))), epoch, index)
        image = v2.functional.normalize(pixels.float() / 255, list(PREPROCESS.mean), list(PREPROCESS.std))
        if patch is not None:
            top, left, noise = patch
            image = v2.functional.erase(image, top, left, *noise.shape[1:], noise)
        batch.append(image)
    return torch.stack(batch)


def test_a_batch_is_the_plain_way():
    mine = stream()
    assert isinstance(mine, Stream)
    assert len(mine) == 15
    assert mine.names[0] == "image-29.png"
    images, targets = mine.batch([mine.load(index, 2) for index in (3, 0, 7)], 9, CPU)
    torch.testing.assert_close(images, plain_batch((3, 0, 7), 2, PLAIN))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert targets.tolist() == [0, 0, 1]


def test_erased_then_mixed_with_one_choice_a_step():
    mine = stream(EVERYTHING)
    for step in range(10):
        images, targets = mine.batch([mine.load(index, step) for index in range(8)], step, CPU)
        mix = choose_mix(EVERYTHING, (16, 16), 5, step)
        plain = plain_batch(range(8), step, EVERYTHING)
        torch.testing.assert_close(images, mix_images(plain, mix))
        torch.testing.assert_close(targets, mix_targets(one_hot(torch.from_numpy(CLASSES[:8]), 3).float(), mix))


@pytest.mark.parametrize("augmentation", [PLAIN, EVERYTHING])
def test_the_same_bits_for_any_workers_order_and_cut(augmentation):
    whole = stream(augmentation)
    expected = whole.batch([whole.load(index, 1) for index in range(12)], 4, CPU)
    for workers, sizes in ((0, (4, 8)), (2, (6, 2, 4)), (3, (12,))):
        mine, parts, start = stream(augmentation), [], 0
        wanted = []
        for size in sizes:
            wanted.append(Wanted(1, tuple(range(start, start + size))))
            start += size
        parts = [mine.batch(items, 4, CPU) for items in load(mine, wanted, workers)]
        assert torch.equal(torch.cat([part.images for part in parts]), expected.images)
        assert torch.equal(torch.cat([part.targets for part in parts]), expected.targets)


@pytest.mark.parametrize("targets", [np.linspace(0, 4, 15), np.random.default_rng(0).integers(0, 2, (15, 6))])
def test_rows_of_numbers_are_handed_on_and_mixed(targets):
    mine = stream(PLAIN, targets, None)
    found = mine.batch([mine.load(index, 0) for index in (4, 2)], 0, CPU).targets
    assert found.dtype == torch.float32
    targets = targets.reshape(15, -1)
    np.testing.assert_allclose(found, targets[[4, 2]], rtol=1e-6)
    mixing = stream(EVERYTHING, targets, None)
    mix = choose_mix(EVERYTHING, (16, 16), 5, 3)
    found = mixing.batch([mixing.load(index, 0) for index in (4, 2)], 3, CPU).targets
    expected = mix.share * targets[[4, 2]] + (1 - mix.share) * targets[[2, 4]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_decoded_is_named(workers):
    images = random_images(30)
    images.data[21] = images.data[21][:40]
    mine = stream(images=images)
    with pytest.raises(UnreadableImage, match=r"'image-21\.png' is in no known image format"):
        list(load(mine, [Wanted(0, tuple(range(15)))], workers))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": np.arange(0), "targets": np.arange(0)}, "no images to train on"),
        ({"rows": np.arange(20, 35)}, r"rows 20\.\.34 are not all among 30 images"),
        ({"targets": CLASSES[:-1]}, "15 rows have 14 targets"),
        ({"targets": CLASSES + 1}, r"5 of 15 targets are not classes 0\.\.2 \(first: 3 of 'image-25\.png'\)"),
        ({"targets": CLASSES - 1}, r"\(first: -1 of 'image-29\.png'\)"),
        ({"targets": CLASSES / 2}, "one integer an image, not float64"),
        ({"targets": np.where(CLASSES == 2, np.inf, CLASSES), "classes": None}, r"5 of 15 targets are not finite"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        stream(**changes)
