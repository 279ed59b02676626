"""Weather and what it throws at the lens. Grains, trails and drops are lengths; how much of them there is, is not."""

import math
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from tasks.datasets.corruptions.blur import enlarged, moved
from tasks.datasets.corruptions.distance import capped_distance, equalised, mean_of_nine, relief
from tasks.datasets.corruptions.pixels import GREY, Field, Pixels, scale_of, three, to_pixels
from tasks.datasets.corruptions.smoothing import gaussian, gaussian_weights

# Mean and deviation of the grains' brightness, their size, from where on they show, half the length of their trail and
# its fading, share of the image that is not whitened.
SNOW = (
    (0.1, 0.3, 3.0, 0.5, 10.0, 4.0, 0.8),
    (0.2, 0.3, 2.0, 0.5, 12.0, 4.0, 0.7),
    (0.55, 0.3, 4.0, 0.9, 12.0, 8.0, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12.0, 8.0, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12.0, 12.0, 0.55),
)
FROST = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))  # shares of the image and of the ice
FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))  # thickness, how fast fine detail fades
# Mean and deviation of the liquid, its smoothing, from where on it shows, strength; for mud the last is a smoothing.
WATER = ((0.65, 0.3, 4.0, 0.69, 0.6), (0.65, 0.3, 3.0, 0.68, 0.6), (0.65, 0.3, 2.0, 0.68, 0.5))
MUD = ((0.65, 0.3, 1.0, 0.65, 1.5), (0.67, 0.4, 1.0, 0.65, 1.5))

ICE = (143, 164, 176)  # mean red, green and blue of frosted panes
_ICE_SPREAD, _ICE_TEXTURE, _ICE_FALL = 38, 24, 1.0
_WATER_COLOUR, _MUD_COLOUR = (175, 238, 238), (63, 42, 20)
_DEEPEST = 20
_MUD_EDGE = 0.8


def snow(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """Bright grains of noise, drawn out into falling trails, over a whitened image; once more turned half round."""
    mean, deviation, grain, visible, radius, fading, kept = SNOW[level - 1]
    scale = scale_of(image)
    flakes = _grains(image, mean, deviation, max(1.0, grain * scale), generator)
    flakes[flakes < visible] = 0
    np.clip(flakes, 0, 1, out=flakes)
    fallen = moved(flakes, radius, fading, generator.uniform(-135, -45), scale)
    layer = np.round(fallen[: image.shape[0], : image.shape[1], 0] * 255)
    values = image.astype(np.float32)
    white = three(values @ np.asarray([1.5 * part for part in GREY], np.float32) + np.float32(127.5))
    np.maximum(white, values, out=white)
    white *= np.float32(1 - kept)
    white += values * np.float32(kept)
    white += three(layer + layer[::-1, ::-1])
    return to_pixels(white)


def _grains(
    image: Pixels, mean: float, deviation: float, grain: float, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Normal noise, a grain of it ``grain`` pixels large, at least as large as the image."""
    height, width = (math.ceil(side / grain) for side in image.shape[:2])
    noise = generator.standard_normal((height, width, 1), dtype=np.float32) * np.float32(deviation) + np.float32(mean)
    return enlarged(noise, round(height * grain), round(width * grain))


def frost(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """A mixture with an icy pane.

    The published sets mix with crops of five photographs of ice. Here the pane is drawn instead: bright ridges of noise
    whose spectrum falls as theirs do, as light, as blue and as varied as they are on average. So its numbers follow the
    published ones, and its pictures do not.
    """
    kept, icy = FROST[level - 1]
    values = image.astype(np.float32)
    values *= np.float32(kept)
    light = math.sqrt(3) * _ICE_SPREAD * generator.uniform(-1, 1)
    texture = _ridges(image.shape[0], image.shape[1], generator) * np.float32(_ICE_TEXTURE) + np.float32(light)
    for channel, mean in enumerate(ICE):
        values[..., channel] += np.clip(texture + np.float32(mean), 0, 255) * np.float32(icy)
    return to_pixels(values)


def _ridges(height: int, width: int, generator: np.random.Generator) -> Field:
    """Noise of mean 0 and deviation 1, half of it smooth, half folded at its own zeros into ridges like ice needles."""
    fall = _spectral_fall(height, width)
    shape = (2, *fall.shape)
    spectrum = generator.standard_normal(shape, dtype=np.float32) + 1j * generator.standard_normal(shape, np.float32)
    smooth, folded = scipy.fft.irfft2(spectrum * fall, (height, width))
    pane = _standard(smooth) - _standard(np.abs(folded))
    return _standard(pane)


def _standard(field: Field) -> Field:
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-6), dtype=np.float32)


@lru_cache(maxsize=8)
def _spectral_fall(height: int, width: int) -> NDArray[np.float32]:
    """The amplitude of each frequency: a power of it, so the same at every size."""
    down, right = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    radius = np.hypot(down, right)
    radius[0, 0] = np.inf
    return np.asarray(radius**-_ICE_FALL, dtype=np.float32)


def fog(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """Clouds of plasma, added; then all is darkened until the brightest value is what it was."""
    thickness, decay = FOG[level - 1]
    height, width = image.shape[:2]
    brightest = int(image.max()) / 255
    share = brightest / (brightest + thickness)
    side = 1 << max(1, (max(height, width, 3) - 1).bit_length())
    clouds = plasma(side, decay, generator)[:height, :width] * np.float32(255 * thickness * share)
    values = image.astype(np.float32)
    values *= np.float32(share)
    values += three(clouds)
    return to_pixels(values)


def plasma(side: int, decay: float, generator: np.random.Generator) -> Field:
    """A height map in 0..1 on a torus, by midpoint displacement in diamonds and squares (Fournier et al., 1982).

    Each halving of the step divides the displacement by the square of ``decay``. ``side`` is a power of two.
    """
    field = np.zeros((side, side), np.float32)
    drawn = generator.random(side * side, dtype=np.float32)
    drawn -= np.float32(0.5)
    drawn *= 2
    for halving in range(side.bit_length() - 1):
        count = 1 << halving
        step, half = side // count, side // count // 2
        steps = drawn[count**2 - 1 : 4 * count**2 - 1].reshape(3, count, count) * np.float32(decay ** (-2 * halving))
        corners = field[::step, ::step]
        beside, beneath = corners + np.roll(corners, -1, 1), corners + np.roll(corners, -1, 0)
        middles = (beside + np.roll(beside, -1, 0)) * np.float32(0.25) + steps[0]
        above, left = middles + np.roll(middles, 1, 0), middles + np.roll(middles, 1, 1)
        field[half::step, half::step] = middles
        field[::step, half::step] = (above + beside) * np.float32(0.25) + steps[1]
        field[half::step, ::step] = (left + beneath) * np.float32(0.25) + steps[2]
    field -= field.min()
    field /= field.max()
    return field


def spatter(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    """Drops on the lens: of water, which lights up (levels 1 to 3), or of mud, which covers (4 and 5)."""
    return _water(image, level, generator) if level <= len(WATER) else _mud(image, level, generator)


def _water(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    mean, deviation, sigma, visible, strength = WATER[level - 1]
    liquid = _liquid(image, mean, deviation, sigma, generator)
    wet = liquid >= visible
    if not wet.any():
        return image.copy()
    depth = capped_distance(_rim(wet), max(1, round(_DEEPEST * scale_of(image))))
    relieved = relief(equalised(mean_of_nine(depth).astype(np.uint8)))
    drops = np.where(wet, np.floor(np.clip(liquid, 0, 1) * 255), 0) * np.round(
        mean_of_nine(relieved.astype(np.float32))
    )
    drops = (drops * np.float32(strength / max(float(drops.max()), 1e-6))).astype(np.float32)
    values = image.astype(np.float32)
    for channel, colour in enumerate(_WATER_COLOUR):
        values[..., channel] += drops * np.float32(colour)
    return to_pixels(values)


def _mud(image: Pixels, level: int, generator: np.random.Generator) -> Pixels:
    mean, deviation, sigma, visible, softness = MUD[level - 1 - len(WATER)]
    covered = (_liquid(image, mean, deviation, sigma, generator) > visible).astype(np.float32)
    covered = np.ascontiguousarray(gaussian(covered, softness * scale_of(image)))
    covered[covered < _MUD_EDGE] = 0
    values = image.astype(np.float32)
    for channel, colour in enumerate(_MUD_COLOUR):
        values[..., channel] += covered * (np.float32(colour) - values[..., channel])
    return to_pixels(values)


def _liquid(image: Pixels, mean: float, deviation: float, sigma: float, generator: np.random.Generator) -> Field:
    """Smoothed normal noise that varies as much at every size as it does at 224 px."""
    noise = generator.standard_normal(image.shape[:2], dtype=np.float32)
    here = sigma * scale_of(image)
    strength = deviation * _left_by(sigma) / _left_by(here)
    return np.ascontiguousarray(gaussian(noise, here)) * np.float32(strength) + np.float32(mean)


def _left_by(sigma: float) -> float:
    """The deviation that is left of noise of deviation 1 after a Gaussian along both axes."""
    return float((gaussian_weights(sigma) ** 2).sum())


def _rim(wet: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Wet points with a dry neighbour above, below, left or right."""
    padded = np.pad(wet, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return wet & ~inner
