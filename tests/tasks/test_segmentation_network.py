"""Heads, loss, crops and upsampling, each against the same thing written out."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from backbones.base import Backbone, Preprocess, freeze
from backbones.catalogue import load
from backbones.images import decode
from backbones.places import Places
from backbones.training.execution import Execution
from tasks.datasets.label_maps import VOID
from tasks.datasets.partition import Part, whole_part
from tasks.segmentation import judging
from tasks.segmentation.crops_stream import CropsStream
from tasks.segmentation.geometry import Crop, Geometry, cut, cut_map, draw, factor_of
from tasks.segmentation.judging import Judge, classes_of
from tasks.segmentation.linear_head import LinearHead
from tasks.segmentation.network import Network, Segmenter, Standardised, pixel_loss
from tasks.segmentation.upernet_head import UPerNetHead
from tasks.trunk import Trunk
from tests.segmentation_fakes import CLASSES, split

PLAIN = Preprocess((64, 64), 64, "squash", "bilinear", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def drawn(channels: dict[int, int], side: int = 64, seed: int = 0) -> dict[int, Tensor]:
    torch.manual_seed(seed)
    return {stride: torch.randn(2, width, side // stride, side // stride) for stride, width in channels.items()}


def part(**changes: int) -> Part:
    return whole_part("train", split(**{"count": 6, "seed": 0, **changes}))


def test_the_linear_head_is_one_convolution_of_all_maps_concatenated() -> None:
    channels = {4: 5, 8: 7, 32: 3}
    head, maps = LinearHead(channels, 6), drawn(channels)
    assert head(maps).count_nonzero() == 0
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    together = torch.cat([interpolate(maps[stride], size=(16, 16), mode="bilinear") for stride in channels], 1)
    weight = torch.cat([head.classifiers[str(stride)].weight for stride in channels], 1)
    whole = nn.functional.conv2d(together, weight, head.classifiers["4"].bias)
    torch.testing.assert_close(head(maps), whole)
    assert sum(parameter.numel() for parameter in head.parameters()) == 6 * (5 + 7 + 3) + 6


def test_standardised_is_a_batch_norm_that_has_seen_all() -> None:
    channels = {4: 5, 16: 7}
    shown = [drawn(channels, seed=seed) for seed in range(3)]
    shown = [{stride: 3 + 10 * features for stride, features in maps.items()} for maps in shown]
    ours = Standardised(channels)
    ours.settle(shown)
    for stride, width in channels.items():
        together = torch.cat([maps[stride] for maps in shown])
        theirs = nn.BatchNorm2d(width, affine=False)(together)
        found = ours({key: torch.cat([maps[key] for maps in shown]) for key in channels})[stride]
        torch.testing.assert_close(found, theirs)
    assert not list(ours.parameters())


def test_features_that_are_no_numbers_are_named() -> None:
    maps = drawn({4: 5})
    maps[4][1, 2, 3, 3] = torch.nan
    with pytest.raises(ValueError, match="features at stride 4 are not all finite"):
        Standardised({4: 5}).settle([maps])


@pytest.mark.parametrize("channels", [{4: 8, 8: 6, 16: 5, 32: 9}, {8: 8, 16: 8, 32: 8, 64: 8}, {16: 12}, {32: 4}])
def test_upernet_answers_at_the_finest_level_and_trains_all_of_itself(channels: dict[int, int]) -> None:
    head, maps = UPerNetHead(channels, 6, 32), drawn(channels)
    logits = head(maps)
    finest = 4 if len(channels) == 1 else min(channels)
    assert logits.shape == (2, 6, 64 // finest, 64 // finest)
    logits.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in head.parameters())


def test_upernet_gives_an_image_the_same_whatever_is_beside_it() -> None:
    channels = {4: 8, 8: 6, 16: 5}
    head, maps = UPerNetHead(channels, 6, 32).train(), drawn(channels)
    alone = head({stride: features[:1] for stride, features in maps.items()})
    torch.testing.assert_close(head(maps)[:1], alone)


def test_the_loss_is_that_of_the_pixels_that_have_a_class() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 4, 5, 6), torch.randint(0, 4, (3, 5, 6), dtype=torch.uint8)
    labels[0, :3], labels[1] = VOID, VOID
    slow = torch.zeros(())
    for image in range(3):
        for row in range(5):
            for column in range(6):
                if labels[image, row, column] != VOID:
                    slow += cross_entropy(logits[image, :, row, column], labels[image, row, column].long())
    whole = pixel_loss(logits, labels)
    torch.testing.assert_close(whole, slow / labels.numel())
    halves = [pixel_loss(logits[[at]], labels[[at]]) for at in range(3)]
    torch.testing.assert_close(torch.stack(halves).mean(), whole)


def test_a_batch_without_a_class_has_no_loss_and_no_gradient() -> None:
    logits = torch.randn(2, 4, 5, 6, requires_grad=True)
    loss = pixel_loss(logits, torch.full((2, 5, 6), VOID, dtype=torch.uint8))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("held", [1, 3 * 40 * 50, 2**24])
def test_classes_are_those_of_the_whole_array_of_logits(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "HELD", held)
    logits = torch.randn(7, 8, 16, generator=torch.Generator().manual_seed(1))
    whole = interpolate(logits[None], size=(32, 64), mode="bilinear")[..., :30, :41]
    slow = interpolate(whole, size=(40, 50), mode="bilinear")[0].argmax(0)
    assert torch.equal(classes_of(logits, (32, 64), (30, 41), (40, 50)).long(), slow)
    assert len(slow.unique()) == 7


def test_of_equal_logits_the_first_class_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "HELD", 1)
    assert (classes_of(torch.zeros(5, 2, 2), (8, 8), (8, 8), (8, 8)) == 0).all()


@pytest.mark.parametrize("size", [(56, 72), (20, 30), (200, 40), (10, 300)])
def test_a_map_is_cut_where_its_image_is(size: tuple[int, int]) -> None:
    """A map that is its image: with both sampled at the nearest pixel they stay the same, mirrored or not."""
    generator, geometry = np.random.default_rng(0), Geometry(side=48, scale=(0.5, 2.0))
    image = torch.randint(0, 256, (1, *size), dtype=torch.uint8)
    mirrored, corners = set(), set()
    for _ in range(40):
        crop = draw(geometry, *size, generator)
        both = cut(torch.cat([image, image, image]), crop, "nearest")
        assert torch.equal(both[0], cut_map(image[0], crop))
        assert all(1 <= length <= 48 for length in crop.size)
        assert 0 <= crop.top <= size[0] - crop.height
        assert 0 <= crop.left <= size[1] - crop.width
        mirrored.add(crop.mirrored)
        corners.add((crop.top, crop.left))
    assert mirrored == {True, False}
    assert len(corners) > 5


def test_a_crop_keeps_the_aspect_ratio_and_has_the_scale_that_is_drawn() -> None:
    generator = np.random.default_rng(1)
    scales = []
    for _ in range(200):
        crop = draw(Geometry(side=128, scale=(0.5, 2.0)), 300, 400, generator)
        vertical, horizontal = crop.size[0] / crop.height, crop.size[1] / crop.width
        assert vertical == pytest.approx(horizontal, rel=0.03)
        scales.append(vertical / factor_of(300, 400, 128))
    assert 0.48 < min(scales) < 0.55
    assert 1.9 < max(scales) < 2.05
    whole = draw(Geometry(side=128, scale=(1.0, 1.0), flip=0), 300, 300, generator)
    assert whole == Crop(0, 0, 300, 300, (128, 128), False)


def test_crops_are_the_same_for_the_same_seed_epoch_and_index() -> None:
    def labels(seed: int, epoch: int, index: int) -> bytes:
        item = CropsStream(part(), len(CLASSES), PLAIN, Geometry(side=32), seed).load(index, epoch)
        return item.labels.numpy().tobytes() + item.pixels.numpy().tobytes()

    assert labels(0, 0, 0) == labels(0, 0, 0)
    assert len({labels(*place) for place in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]}) == 4


def test_a_batch_is_normalised_and_beyond_the_image_is_nothing() -> None:
    stream = CropsStream(part(), len(CLASSES), PLAIN, Geometry(side=96, scale=(0.5, 0.6)), 0)
    items = [stream.load(at, 0) for at in range(6)]
    batch = stream.batch(items, 0, torch.device("cpu"))
    assert batch.images.shape == (6, 3, 96, 96)
    for image, labels, item in zip(batch.images, batch.labels, items, strict=True):
        height, width = item.labels.shape
        assert height < 96 > width
        expected = item.pixels.permute(2, 0, 1).float() / 255
        expected = (expected - torch.tensor(PLAIN.mean).view(3, 1, 1)) / torch.tensor(PLAIN.std).view(3, 1, 1)
        torch.testing.assert_close(image[:, :height, :width], expected, atol=1e-5, rtol=1e-5)
        assert torch.equal(labels[:height, :width], item.labels)
        beyond = torch.ones(96, 96, dtype=torch.bool)
        beyond[:height, :width] = False
        assert (image[:, beyond] == 0).all()
        assert (labels[beyond] == VOID).all()


@pytest.fixture
def tiny() -> Backbone:
    return freeze(load("random:timm:test_resnet", Places()))


def test_images_are_judged_whole_and_at_their_own_size(tiny: Backbone) -> None:
    """The same with Pillow's way written out: resize, normalise, pad, resize back, compare pixel by pixel."""
    network = Network(Trunk(tiny, "frozen"), "linear", len(CLASSES), 32)
    torch.manual_seed(0)
    for parameter in network.head.parameters():
        nn.init.normal_(parameter)
    images = part(count=3, size=(60, 90))
    execution = Execution(device="cpu", workers=0)
    counts = Judge(images, len(CLASSES), tiny.preprocess, 64, execution).counts(Segmenter(network).eval())
    assert images.maps is not None
    for at in range(3):
        image = decode(images.images.read(at)).float()[None]
        resized = (
            interpolate(image, size=(64, 96), mode=tiny.preprocess.interpolation, antialias=True).round().clamp(0, 255)
        )
        mean, std = (torch.tensor(each).view(3, 1, 1) for each in (tiny.preprocess.mean, tiny.preprocess.std))
        logits = network((resized / 255 - mean) / std)
        back = interpolate(interpolate(logits, size=(64, 96), mode="bilinear"), size=(60, 90), mode="bilinear")
        truth, predicted = images.maps.read(at).ravel(), back[0].argmax(0).flatten().numpy()
        theirs = confusion_matrix(truth[truth != VOID], predicted[truth != VOID], labels=range(len(CLASSES)))
        assert np.abs(counts.hits[at] - np.diagonal(theirs)).sum() <= 0.002 * theirs.sum()
        np.testing.assert_array_equal(counts.truth[at], theirs.sum(1))
        assert counts.hits[at].sum() > 0


def test_padding_is_not_counted(tiny: Backbone) -> None:
    """60 x 90 pixels at a side of 50 are 50 x 75, padded to 64 x 96."""
    images = part(count=3, size=(60, 90))
    network = Segmenter(Network(Trunk(tiny, "frozen"), "linear", len(CLASSES), 32)).eval()
    counts = Judge(images, len(CLASSES), tiny.preprocess, 50, Execution(device="cpu", workers=0)).counts(network)
    assert images.maps is not None
    known = [(images.maps.read(at) != VOID).sum() for at in range(3)]
    assert counts.truth.sum(1).tolist() == counts.predicted.sum(1).tolist() == known


def test_the_finest_maps_are_left_out_where_there_are_coarser_ones(tiny: Backbone) -> None:
    trunk = Trunk(tiny, "frozen")
    assert min(trunk.channels()) == 2
    assert Network(trunk, "linear", 4, 32).standardised.strides == [4, 8, 16, 32]
