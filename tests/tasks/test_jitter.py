"""Views of images: boxes and masks land where the pixels do, held against warping a mask of each object likewise."""

from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tasks.datasets.objects import Objects
from tasks.datasets.outlines import RunLengths, box_of, mask_of, outline_of
from tasks.detection.jitter import Jitter, as_tested, drawn
from tasks.detection.view import View, seen
from tests.detection_fakes import COLOURS, outline, picture

JITTERS: dict[str, dict[str, Any]] = {
    "large-scale": {"long_side": 128, "short_side": 128},
    "short-side": {"short_side": 96, "long_side": 160, "short_sides": (64, 96, 120)},
    "short-side-or-crop": {"short_side": 96, "long_side": 160, "short_sides": (64, 96, 120)},
    "none": {"short_side": 96, "long_side": 160},
}
SIZES = [(96, 128), (150, 90), (100, 100)]


@pytest.mark.parametrize("jitter", JITTERS)
@pytest.mark.parametrize("size", SIZES)
def test_boxes_and_masks_follow_the_pixels(jitter: str, size: tuple[int, int]) -> None:
    """The slow version paints each object white on black, resizes the whole, and looks where the white is."""
    settings = Jitter(jitter=jitter, **JITTERS[jitter])  # type: ignore[arg-type]
    kept, shown = 0, 0
    for trial in range(30):
        _, objects = picture(4 * trial, size)
        view = drawn(settings, size, Random(trial))
        found = seen(objects, view, masks=True)
        assert found.masks is not None
        slow = []
        for label, polygons in zip(objects.labels, objects.outlines or (), strict=True):
            white = torch.from_numpy(mask_of(polygons, size) * np.uint8(255)).expand(3, -1, -1)
            warped = view.pixels(white, "bilinear")[0].numpy() >= 128
            box = box_of(warped.astype(np.uint8))
            if min(box[2] - box[0], box[3] - box[1]) > 2:
                slow.append((label, box, warped))
            shown += 1
        large = [at for at, box in enumerate(found.boxes) if min(box[2:] - box[:2]) > 3]
        kept += len(slow)
        assert len(large) <= len(slow) <= len(found.labels)
        for label, box, warped in slow:
            at = int(np.abs(found.boxes - box).max(axis=1).argmin())
            assert found.labels[at] == label
            assert np.abs(found.boxes[at] - box).max() <= 1.0
            differing = (found.masks[at].astype(bool) != warped).sum()
            assert differing <= 2 * sum(warped.shape)
            assert differing <= 0.25 * warped.sum() + 12
    assert kept > 20
    assert jitter == "none" or kept <= shown


def test_masks_are_drawn_exactly_where_nothing_is_resized() -> None:
    """A window of its own size, mirrored or not, is the cut-out of the whole mask, also of polygons that leave it."""
    size = (60, 80)
    diamond = (np.asarray([40, 3, 77, 30, 40, 58, 3, 30], np.float32),)
    objects = Objects(
        size,
        np.asarray([[3, 3, 77, 58]], np.float32),
        np.zeros(1, np.int64),
        np.asarray([2000], np.float32),
        np.zeros(1, bool),
        (diamond,),
    )
    whole = mask_of(diamond, size)
    for top, left in [(0, 0), (10, 25), (25, 30)]:
        found = seen(objects, View((top, left, 30, 40), (30, 40)), masks=True)
        assert found.masks is not None
        cut = whole[top : top + 30, left : left + 40]
        assert (found.masks[0] != cut).sum() <= 2  # a pixel whose centre lies on the outline
        kept = seen(_with_runs(objects, whole), View((top, left, 30, 40), (30, 40), mirrored=True), masks=True)
        assert kept.masks is not None
        assert np.array_equal(kept.masks[0], cut[:, ::-1])


def _with_runs(objects: Objects, mask: np.ndarray) -> Objects:
    runs = outline_of(mask)
    assert isinstance(runs, RunLengths)
    return Objects(objects.size, objects.boxes, objects.labels, objects.areas, objects.crowd, (runs,))


def test_the_colour_inside_a_box_is_the_objects() -> None:
    settings = Jitter(jitter="large-scale", short_side=128, long_side=128, scales=(0.8, 2.0))
    looked = 0
    for trial in range(40):
        pixels, objects = picture(4 * trial)
        view = drawn(settings, objects.size, Random(trial))
        found = seen(objects, view, masks=False)
        shown = view.pixels(torch.from_numpy(pixels).permute(2, 0, 1), "bilinear")
        for box, label in zip(found.boxes, found.labels, strict=True):
            left, top, right, bottom = box.round().astype(int)
            if right - left > 8 and bottom - top > 8:
                inside = shown[:, top + 3 : bottom - 3, left + 3 : right - 3].reshape(3, -1)
                assert np.abs(inside.float().mean(1).numpy() - COLOURS[label]).max() < 4
                looked += 1
    assert looked > 30


def test_crowds_and_what_leaves_the_view_are_left_out() -> None:
    boxes = np.asarray([[0, 0, 10, 10], [60, 60, 80, 80], [30, 30, 50, 50]], np.float32)
    crowd = np.asarray([False, False, True])
    outlines = tuple((outline(box),) for box in boxes)
    objects = Objects((100, 100), boxes, np.asarray([0, 1, 2]), np.full(3, 100, np.float32), crowd, outlines)
    found = seen(objects, View((50, 50, 50, 50), (100, 100)), masks=True)
    assert found.labels.tolist() == [1]
    assert found.boxes.tolist() == [[20.0, 20.0, 60.0, 60.0]]
    none = seen(objects, View((81, 0, 10, 50), (20, 100)), masks=True)
    assert none.masks is not None
    assert (len(none.labels), none.boxes.shape, none.masks.shape) == (0, (0, 4), (0, 20, 100))


def test_scales_and_windows_are_those_asked_for() -> None:
    settings = Jitter(jitter="large-scale", short_side=256, long_side=256, scales=(0.1, 2.0))
    views = [drawn(settings, (96, 128), Random(trial)) for trial in range(400)]
    scales = [max(view.scale) * 128 / 256 for view in views]
    assert 0.09 < min(scales) < 0.2
    assert 1.9 < max(scales) < 2.1
    assert abs(np.mean(scales) - 1.05) < 0.1
    assert all(max(view.size) <= 256 for view in views)
    assert 0.4 < np.mean([view.mirrored for view in views]) < 0.6
    corners = {view.window[:2] for view in views}
    assert len(corners) > 50
    assert as_tested(Jitter(short_side=800, long_side=1333), (480, 1600)).size == (400, 1333)
    assert as_tested(Jitter(short_side=800, long_side=1333), (640, 480)).size == (1067, 800)
    assert as_tested(Jitter(), (1, 5000)).size == (1, 1024)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"short_side": 900, "long_side": 800}, "short_side .900. is above long_side .800."),
        ({"scales": (2.0, 0.1)}, "scales must be .lowest, highest."),
        ({"jitter": "short-side"}, "draws from short_sides"),
        ({"jitter": "short-side", "short_sides": (2000,)}, "short_sides .2000. are above long_side"),
        ({"jitter": "mosaic"}, "large-scale"),
    ],
)
def test_sizes_that_make_no_sense(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Jitter(**settings)
