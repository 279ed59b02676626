"""Blurs. Radii, deviations and displacements are lengths, in pixels of a 224 px image; zooms are ratios."""

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float32, Int32
from numpy.typing import NDArray

from tasks.datasets.corruptions.pixels import Pixels, Values, scale_of, to_pixels
from tasks.datasets.corruptions.smoothing import Spectrum, filtered, gaussian, spectrum_of, trail

GAUSSIAN = (1.0, 2.0, 3.0, 4.0, 6.0)  # standard deviation
DEFOCUS = (
    (3.0, 0.1),
    (4.0, 0.5),
    (6.0, 0.5),
    (8.0, 0.5),
    (10.0, 0.5),
)  # radius of the disk, deviation that softens its rim
GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))  # deviation, farthest displacement, rounds
MOTION = (
    (10.0, 3.0),
    (15.0, 5.0),
    (15.0, 8.0),
    (15.0, 12.0),
    (20.0, 15.0),
)  # half the trail's length, deviation of its fading
ZOOM = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))  # end and step of the zooms from 1
_SMALL_DISK = 8


def gaussian_blur(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """A Gaussian."""
    return to_pixels(gaussian(image.astype(np.float32), GAUSSIAN[level - 1] * scale_of(image)))


def defocus_blur(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """A disk: the lens is out of focus."""
    radius, softness = DEFOCUS[level - 1]
    kernel = _disk_spectrum(radius, softness, scale_of(image), image.shape[:2])
    return to_pixels(filtered(image.astype(np.float32), kernel))


@lru_cache(maxsize=4)
def _disk_spectrum(radius: float, softness: float, scale: float, size: tuple[int, int]) -> Spectrum:
    return spectrum_of(disk(radius, softness, scale), size)


def disk(radius: float, softness: float, scale: float) -> NDArray[np.float64]:
    """Equal weights over a disk of ``radius * scale`` pixels, its rim softened by a Gaussian over the next neighbours.

    Under scale 1 the disk is drawn and softened on a lattice finer by an odd factor, and each pixel gets its lattice
    points' weights: a disk of less than a pixel still mixes neighbours by as much as it covers them. As published,
    a radius up to 8 is softened over 3 x 3 neighbours in a frame of 8, a larger one over 5 x 5 in its own frame, and
    weights at the frame are mirrored, which brightens by up to 1 % where the disk fills its frame (levels 4 and 5).
    """
    finer = 2 * math.floor(0.5 / scale) + 1
    grown = scale * finer
    reach, ring = (_SMALL_DISK, 1) if radius <= _SMALL_DISK else (radius, 2)
    frame = max(1, round(reach * grown))
    across = np.arange(-frame, frame + 1)
    inside = (across[:, None] ** 2 + across[None] ** 2 <= (radius * grown) ** 2).astype(np.float64)
    inside /= inside.sum()
    rim = np.exp(-0.5 * (np.arange(-ring, ring + 1) / softness) ** 2)
    for axis in (0, 1):
        inside = _softened(inside, rim / rim.sum(), axis)
    return _gathered(inside, finer)


def _softened(weights: NDArray[np.float64], rim: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    ring = len(rim) // 2
    padded = np.pad(weights, [(ring, ring) if axis == at else (0, 0) for at in (0, 1)], mode="reflect")
    return np.asarray(
        sum(part * padded.take(range(at, at + weights.shape[axis]), axis=axis) for at, part in enumerate(rim))
    )


def _gathered(weights: NDArray[np.float64], finer: int) -> NDArray[np.float64]:
    """Sums of finer x finer lattice points, the middle one of which is the middle of a pixel."""
    frame = len(weights) // 2
    pixels = math.ceil((frame - finer // 2) / finer) if frame > finer // 2 else 0
    missing = pixels * finer + finer // 2 - frame
    side = 2 * pixels + 1
    return np.asarray(np.pad(weights, missing).reshape(side, finer, side, finer).sum((1, 3)))


def glass_blur(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """A Gaussian, pixels displaced at random, the Gaussian again: frosted glass."""
    deviation, farthest, rounds = GLASS[level - 1]
    scale = scale_of(image)
    sigma, most = deviation * scale, max(1, round(farthest * scale))
    blurred = to_pixels(gaussian(image.astype(np.float32), sigma))
    height, width = image.shape[:2]
    source = np.arange(height * width, dtype=np.int32)
    for _ in range(rounds):
        drawn = generator.random((2, max(0, height - 2 * most), max(0, width - 2 * most)), dtype=np.float32)
        source = source[displaced(_offsets(drawn, farthest, scale, most, generator), most, height, width)]
    moved = blurred.reshape(-1, 3)[source].reshape(image.shape)
    return to_pixels(gaussian(moved.astype(np.float32), sigma))


def _offsets(
    drawn: Float32[np.ndarray, "2 rows columns"], farthest: int, scale: float, most: int, generator: np.random.Generator
) -> Int32[np.ndarray, "2 rows columns"]:
    """Whole numbers from ``-farthest`` to below ``farthest``, each as likely, times the scale.

    Under scale 1 they are rounded up or down at random, so that their mean is right: most pixels of a small image stay.
    """
    reach = farthest * max(1.0, scale)
    offsets = np.floor((drawn * 2 - 1) * np.float32(reach))
    if scale < 1:
        offsets = np.floor(offsets * np.float32(scale) + generator.random(offsets.shape, dtype=np.float32))
    return np.clip(offsets, -most, most - 1).astype(np.int32)


def displaced(
    offsets: Int32[np.ndarray, "2 rows columns"], farthest: int, height: int, width: int
) -> NDArray[np.int32]:
    """From which pixel (flat) each pixel has its value after one round.

    The published functions go from the last pixel to the first and give each the value that its (down, right) offset
    now shows (they mean to exchange the two, and write the one over the other). So a pixel whose neighbour was there
    before has what that neighbour was given, and so on: chains, followed here all at once by doubling.
    """
    count = height * width
    inner = np.arange(count, dtype=np.int32).reshape(height, width)[
        farthest + 1 : height - farthest + 1, farthest + 1 : width - farthest + 1
    ]
    points = inner + offsets[0] * width + offsets[1]
    visited = np.zeros(count, dtype=bool)
    visited[inner.reshape(-1)] = True
    leads = np.arange(count, 2 * count, dtype=np.int32)  # entry i is what i ends as; count + i is what i began as
    leads[inner] = np.where((points > inner) & visited[points], points, points + count)
    while (unknown := leads < count).any():
        leads[unknown] = leads[leads[unknown]]
    return leads - np.int32(count)


def motion_blur(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """A fading trail at an angle within 45 degrees of level: the camera moves."""
    radius, deviation = MOTION[level - 1]
    angle = generator.uniform(-45, 45)
    return to_pixels(moved(image.astype(np.float32), radius, deviation, angle, scale_of(image)))


def moved(
    values: Float32[np.ndarray, "height width channels"], radius: float, deviation: float, angle: float, scale: float
) -> Float32[np.ndarray, "height width channels"]:
    """A trail of ``2 radius`` that fades by a Gaussian, at ``angle`` degrees; a copy a pixel, more if it is short."""
    step = min(1.0, scale)
    along = np.arange(math.floor(2 * radius * scale / step + 1e-6) + 1) * step
    weights = np.exp(-0.5 * (along / (deviation * scale)) ** 2)
    turned = math.radians(angle)
    down, right = (-np.ceil(along * part - 0.5).astype(int) for part in (math.sin(turned), math.cos(turned)))
    return trail(values, list(zip(down.tolist(), right.tolist(), strict=True)), (weights / weights.sum()).tolist())


def zoom_blur(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """The mean of the image and of it zoomed in, ever more: the camera rushes forward."""
    end, step = ZOOM[level - 1]
    values = image.astype(np.float32)
    total = values.copy()
    zooms = np.arange(1, end, step)
    for zoom in zooms.tolist():
        total += zoomed(values, zoom)
    total *= np.float32(1 / (len(zooms) + 1))
    return to_pixels(total)


def zoomed(values: Values, zoom: float) -> Values:
    """The middle of the image enlarged linearly, corner on corner; what is left over at the right and below is cut."""
    height, width = values.shape[:2]
    part_height, part_width = math.ceil(height / zoom), math.ceil(width / zoom)
    top, left = (height - part_height) // 2, (width - part_width) // 2
    part = values[top : top + part_height, left : left + part_width]
    return enlarged(part, round(part_height * zoom), round(part_width * zoom))[:height, :width]


def enlarged(
    values: Float32[np.ndarray, "height width channels"], height: int, width: int
) -> Float32[np.ndarray, "tall wide channels"]:
    """To (height, width) by linear interpolation that keeps the corners."""
    planes = torch.from_numpy(values).permute(2, 0, 1)[None]
    large = torch.nn.functional.interpolate(planes, (height, width), mode="bilinear", align_corners=True)
    return np.asarray(large[0].permute(1, 2, 0).numpy())
