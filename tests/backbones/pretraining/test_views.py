"""Images to views, against the plain way: torchvision's functions one after the other on one image."""

import io
import pickle
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as torchvision

from backbones.base import Preprocess
from backbones.images import UnreadableImage, decode
from backbones.pretraining.method import Batch, MethodSettings, Progress
from backbones.pretraining.methods.dino import DINO
from backbones.pretraining.methods.simclr import SimCLR
from backbones.pretraining.pretrainee import Pretrainee
from backbones.pretraining.views import decoded
from backbones.pretraining.views import stream as streams
from backbones.pretraining.views.blur import radius
from backbones.pretraining.views.cutting import at_once, cutter, together
from backbones.pretraining.views.draws import draw
from backbones.pretraining.views.parameters import OPERATIONS, parameters
from backbones.pretraining.views.settings import SYMMETRIC, ViewGroup, colour
from backbones.pretraining.views.stream import ViewStream
from backbones.training.execution import Execution
from backbones.training.loader import Wanted, load
from backbones.training.loop import fit
from backbones.training.recipe import Recipe
from backbones.training.stream import Stream
from tests.feature_fakes import MemoryImages, png, random_images
from tests.pretraining_fakes import tiny_method

CPU = torch.device("cpu")
PREPROCESS = Preprocess((24, 24), 24, "center", "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
STRONG = ViewGroup(blur=0.5, solarise=0.3, **colour())
GROUPS = (STRONG, ViewGroup(count=2, size=12, crop_scale=(0.05, 0.3), **colour(0.5)), ViewGroup(flip=0.0, solarise=1.0))
ROWS = np.arange(30)[::-2]
SEED = 5


def stream(groups: Any = GROUPS, images: Any = None, rows: Any = ROWS, memory_gb: float = 4.0) -> ViewStream:
    recipe = Recipe(epochs=2, global_batch=4, warmup_epochs=0)
    return ViewStream(images or random_images(30), rows, PREPROCESS, groups, SEED, recipe, memory_gb)


def of_many_sizes() -> MemoryImages:
    return MemoryImages([png(index, side=10 + 3 * index) for index in range(30)])


def on_another_device(images: Any, device: torch.device) -> Any:
    """How views are cut where there are no fast loops."""
    return at_once(together(images, device))


CUTTERS = {"cpu": cutter, "other": on_another_device}


def plain_view(pixels: Tensor, numbers: np.ndarray, group: ViewGroup, size: int) -> Tensor:
    """Of one decoded image, 8 bits or floats, and one row of numbers."""
    shape = [np.array([side]) for side in pixels.shape[-2:]]
    drawn = parameters(numbers[None], *shape, group, size)
    view = torchvision.resized_crop(pixels, *drawn.boxes[0].tolist(), [size, size], antialias=True)
    view = view / 255
    if drawn.flip[0]:
        view = torchvision.horizontal_flip(view)
    for number in drawn.order[0]:
        if number >= 0:
            view = getattr(torchvision, f"adjust_{OPERATIONS[number]}")(view, float(drawn.factors[0, number]))
    if drawn.grey[0]:
        view = torchvision.rgb_to_grayscale(view, 3)
    if drawn.sigma[0]:
        view = torchvision.gaussian_blur(view, [2 * radius(size) + 1] * 2, [float(drawn.sigma[0])] * 2)
    if drawn.solarise[0]:
        view = torchvision.solarize(view, 0.5)
    return torchvision.normalize(view, list(PREPROCESS.mean), list(PREPROCESS.std))


@pytest.mark.parametrize("device", CUTTERS)
@pytest.mark.parametrize("images", [random_images(30), of_many_sizes()])
def test_views_are_the_plain_way(images: MemoryImages, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From 8 bits on the CPU, from floats elsewhere. Within 1e-4 of a standard deviation, but for one pixel in a
    thousand that rounding brings across one half, where solarisation jumps, or to another sector of hue.
    """
    monkeypatch.setattr(streams, "cutter", CUTTERS[device])
    mine, indices = stream(images=images), (3, 0, 7, 9, 11)
    assert isinstance(mine, Stream)
    assert mine.names[0] == "image-29.png"
    batch = mine.batch([mine.load(index, 2) for index in indices], 4, CPU)
    assert batch.rows.tolist() == list(indices)
    assert batch.progress == Progress(step=4, total=6, steps_an_epoch=3)
    assert [tuple(view.images.shape) for view in batch.views] == [(5, 3, side, side) for side in (24, 12, 12, 24)]
    groups = [GROUPS[0], GROUPS[1], GROUPS[1], GROUPS[2]]
    for number, (view, group) in enumerate(zip(batch.views, groups, strict=True)):
        assert view.images.is_contiguous(memory_format=torch.channels_last)
        for place, index in enumerate(indices):
            image = decode(images.read(int(ROWS[index])))
            image = image if device == "cpu" else image.float()
            plain = plain_view(image, draw(SEED, 2, index, 4)[number], group, view.images.shape[-1])
            assert ((view.images[place] - plain).abs() > 1e-4).float().mean() < 1e-3


def test_boxes_and_flips_find_the_view_again() -> None:
    mine = stream((ViewGroup(count=2, crop_scale=(0.3, 0.6)),), of_many_sizes())
    items = [mine.load(index, 0) for index in range(15)]
    for view in mine.batch(items, 0, CPU).views:
        assert 0 < view.flipped.sum() < 15
        for place, (found, box, flipped) in enumerate(zip(*view, strict=True)):
            image = decode(mine.images.read(int(ROWS[place])))
            side = image.shape[-1]
            edges = [round(edge) for edge in (box * side).tolist()]
            cut = torchvision.resized_crop(image, *edges, [24, 24], antialias=True)
            cut = torchvision.normalize(cut / 255, list(PREPROCESS.mean), list(PREPROCESS.std))
            torch.testing.assert_close(found, cut.flip(-1) if flipped else cut, atol=1e-4, rtol=0)


def joined(parts: list[Batch]) -> list[Tensor]:
    views = zip(*(part.views for part in parts), strict=True)
    return [torch.cat(fields) for view in views for fields in zip(*view, strict=True)]


def test_devices_differ_by_a_grey_level() -> None:
    images = [decode(of_many_sizes().data[index]).permute(1, 2, 0).numpy() for index in range(8)]
    shapes = np.array([image.shape[:2] for image in images])
    boxes = np.concatenate([0 * shapes, shapes - 3], axis=1)[None].repeat(2, 0)
    flip = np.arange(16).reshape(2, 8) % 3 == 0
    found = [make(images, CPU)(boxes, flip, 16) for make in CUTTERS.values()]
    assert found[0].shape == (16, 3, 16, 16)
    torch.testing.assert_close(*found, atol=1.1 / 255, rtol=0)


@pytest.mark.parametrize("memory_gb", [0.0, 1.0])
@pytest.mark.parametrize("images", [random_images(30), of_many_sizes()])
def test_the_same_views_for_any_workers_order_and_cut(images: MemoryImages, memory_gb: float) -> None:
    """Products of matrices of another batch may round otherwise: within 1e-5."""
    whole = stream(images=images)
    expected = joined([whole.batch([whole.load(index, 1) for index in range(12)], 4, CPU)])
    for workers, sizes in ((0, (4, 8)), (2, (6, 2, 4))):
        mine, edges = stream(images=images, memory_gb=memory_gb), np.cumsum([0, *sizes])
        wanted = [Wanted(1, tuple(range(low, high))) for low, high in pairwise(edges)]
        found = joined([mine.batch(items, 4, CPU) for items in load(mine, wanted, workers)])
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_epochs_and_views_differ_and_a_restart_does_not() -> None:
    first, again = stream((ViewGroup(count=2),)), stream((ViewGroup(count=2),))
    one, other = first.load(2, 0), first.load(2, 1)
    assert np.array_equal(one.pixels, other.pixels)
    batches = [mine.batch([item], 0, CPU) for mine, item in ((first, one), (first, other), (again, again.load(2, 0)))]
    assert not torch.equal(batches[0].views[0].images, batches[1].views[0].images)
    assert not torch.equal(batches[0].views[0].images, batches[0].views[1].images)
    assert torch.equal(batches[0].views[0].images, batches[2].views[0].images)


def test_statistics_of_views_are_torchvisions() -> None:
    """Levels, contrasts and colourfulness of many views of one image, by two-sample tests."""
    pixels = decode(MemoryImages([coloured_blobs()]).read(0))
    torch.manual_seed(0)
    theirs = torchvision_views(pixels, STRONG, 250)
    mine = ViewStream(
        MemoryImages([coloured_blobs()] * 250), range(250), PREPROCESS, (STRONG,), 1, Recipe(epochs=5, global_batch=250)
    )
    found = mine.batch([mine.load(index, 0) for index in range(250)], 0, CPU).views[0].images
    for one, other in zip(facts(found), facts(theirs), strict=True):
        assert ks_2samp(one, other).pvalue > 1e-3


def coloured_blobs() -> bytes:
    file, small = io.BytesIO(), np.random.default_rng(3).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(small).resize((60, 50), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


def torchvision_views(pixels: Tensor, group: ViewGroup, count: int) -> Tensor:
    jitter = v2.ColorJitter(group.brightness, group.contrast, group.saturation, group.hue)
    sigma = [24 / 224 * edge for edge in group.blur_sigma]
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(24, group.crop_scale, group.crop_ratio, antialias=True),
            v2.RandomHorizontalFlip(group.flip),
            v2.RandomApply([jitter], group.jitter),
            v2.RandomGrayscale(group.grey),
            v2.RandomApply([v2.GaussianBlur(2 * radius(24) + 1, sigma)], group.blur),
            v2.RandomSolarize(0.5, group.solarise),
            v2.Normalize(list(PREPROCESS.mean), list(PREPROCESS.std)),
        ]
    )
    return torch.stack([transform(pixels.float() / 255) for _ in range(count)])


def facts(images: Tensor) -> list[np.ndarray]:
    means, spread = images.mean((2, 3)), images.std((2, 3)).mean(1)
    slope = (images[..., 12:] - images[..., :12]).mean((1, 2, 3))
    return [*means.T.numpy(), spread.numpy(), images.std(1).mean((1, 2)).numpy(), slope.numpy()]


def test_another_process_is_sent_no_pixels() -> None:
    images = MemoryImages([png(index, 40) for index in range(30)])
    luggage = pickle.dumps(stream(images=images))
    assert len(luggage) < len(pickle.dumps(images)) + 5000
    there, here = pickle.loads(luggage), stream(images=images)
    assert np.array_equal(there.load(3, 1).pixels, here.load(3, 1).pixels)


@pytest.mark.parametrize(
    ("settings", "kind", "device_batch"),
    [(SimCLR(projector=(16, 8)), "cnn", None), (DINO(views=SYMMETRIC, outputs=16, hidden=16, bottleneck=8), "vit", 2)],
)
def test_a_method_learns_the_same_whoever_loads(settings: MethodSettings, kind: str, device_batch: int | None) -> None:
    """And, where images do not meet, however a step is cut."""
    losses, recipe = [], Recipe(epochs=2, global_batch=4, warmup_epochs=0, learning_rate=1e-3)
    for workers, most in ((0, None), (2, device_batch)):
        method = tiny_method(settings, kind)
        mine = ViewStream(
            random_images(12), range(12), method.encoder.backbone.preprocess, settings.views, SEED, recipe
        )
        execution = Execution(device="cpu", workers=workers, device_batch=most)
        losses.append([row["loss"] for row in fit(Pretrainee(method), mine, recipe, execution, SEED).history])
    assert len(losses[0]) == 6
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_images_that_fit_are_decoded_once() -> None:
    images = random_images(30)
    mine = stream(images=images)
    before = list(images.reads)
    for epoch in range(3):
        for index in range(15):
            mine.load(index, epoch)
    assert images.reads == before
    assert [reads > 0 for reads in before] == [row in ROWS for row in range(30)]
    sparing = stream(images=images, memory_gb=1e-6)
    before = sum(images.reads)
    assert np.array_equal(sparing.load(4, 0).pixels, mine.load(4, 0).pixels)
    assert sum(images.reads) == before + 1


def test_large_photographs_are_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "LONGEST_SIDE", 16)
    assert stream().load(0, 0).pixels.shape == (16, 16, 3)
    monkeypatch.setattr(decoded, "LONGEST_SIDE", 20)
    assert stream().load(0, 0).pixels.shape == (20, 20, 3)


@pytest.mark.parametrize("memory_gb", [0.0, 4.0])
def test_an_image_that_cannot_be_decoded_is_named(memory_gb: float) -> None:
    images = random_images(30)
    images.data[21] = images.data[21][:40]
    with pytest.raises(UnreadableImage, match=r"'image-21\.png' is in no known image format"):
        stream(images=images, memory_gb=memory_gb).load(4, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": np.arange(0)}, "no images to train on"),
        ({"rows": np.arange(20, 35)}, r"rows 20\.\.34 are not all among 30 images"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stream(**changes)


def test_an_encoder_of_oblong_images_is_refused() -> None:
    oblong = replace(PREPROCESS, size=(24, 32))
    with pytest.raises(ValueError, match="views are squares, and the encoder takes images of 24 x 32 pixels"):
        ViewStream(random_images(4), range(4), oblong, GROUPS, SEED, Recipe(epochs=5, global_batch=4))
