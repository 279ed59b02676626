"""The floor, against a slow and obvious version, and what it must be blind to."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from backbones.adapters.pixel_statistics import statistics
from backbones.catalogue import load


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def obvious(image: Tensor, top: int, bottom: int, left: int, right: int) -> list[float]:
    """The 8 numbers of one cell, pixel by pixel."""
    _, height, width = image.shape
    grey = image.double().mean(0)

    def strength(row: int, column: int) -> float:
        across = grey[row, min(column + 1, width - 1)] - grey[row, max(column - 1, 0)]
        down = grey[min(row + 1, height - 1), column] - grey[max(row - 1, 0), column]
        return float((across**2 + down**2) ** 0.5)

    cell = [(row, column) for row in range(top, bottom) for column in range(left, right)]
    quantities = [[float(image[channel, row, column]) - 0.5 for row, column in cell] for channel in range(3)]
    quantities.append([strength(row, column) for row, column in cell])
    return [float(np.mean(each)) for each in quantities] + [float(np.std(each)) for each in quantities]


def test_the_whole_image_and_a_cell_are_what_they_say() -> None:
    image = noise(3, 12, 8)
    expected = torch.tensor(obvious(image, 0, 12, 0, 8))
    torch.testing.assert_close(load("pixels").embed(image[None])[0], expected)
    cells = statistics(image[None], (3, 2))[0]
    torch.testing.assert_close(cells[:, 1, 1], torch.tensor(obvious(image, 4, 8, 4, 8)))


@pytest.mark.parametrize("moved", [lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2)])
def test_blind_to_place_and_direction(moved: Callable[[Tensor], Tensor]) -> None:
    stripes = noise(2, 3, 1, 64).expand(2, 3, 64, 64)
    pixels = load("pixels")
    torch.testing.assert_close(pixels.embed(moved(stripes)), pixels.embed(stripes))


def test_tells_brightness_contrast_and_texture_apart() -> None:
    flat, ramp = torch.full((3, 32, 32), 0.5), torch.linspace(0, 1, 32).expand(3, 32, 32)
    checks = (torch.arange(32)[:, None] // 2 + torch.arange(32) // 2).remainder(2).float().expand(3, 32, 32)
    dark, smooth, rough = load("pixels").embed(torch.stack([flat - 0.3, ramp, checks]))
    assert dark.tolist() == pytest.approx([-0.3] * 3 + [0.0] * 5, abs=1e-6)
    assert smooth[3].item() == pytest.approx(2 / 31 * 31 / 32, abs=1e-6)  # 30 columns of two steps, 2 of one
    assert [*smooth[:3].tolist(), *rough[:3].tolist()] == pytest.approx([0.0] * 6, abs=1e-6)
    assert rough[3] > 10 * smooth[3]
