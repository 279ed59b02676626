"""The ``dense`` layer: the deepest feature map, cell by cell, from the cache like any other."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from backbones.adapters.pixel_statistics import PixelStatistics
from backbones.features import Extractor, ExtractSettings
from backbones.inference import GEM, call_of, dense_shape, gem
from tests.feature_fakes import Fake, random_images


class Mapped(Fake):
    """Two maps of the preprocessed image: itself, and means of blocks of four by two pixels."""

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        return {1: images, 4: torch.nn.functional.avg_pool2d(images, (4, 2))}


def test_the_deepest_map_comes_back_cell_by_cell(tmp_path: Path) -> None:
    backbone, images = Mapped(side=8), random_images(5)
    extract = Extractor(ExtractSettings(tmp_path, device="cpu", workers=1))
    dense, pixels = extract(backbone, images, "dense"), extract(backbone, images)
    assert dense_shape(backbone) == (8, 3)
    cells = dense.reshape(5, 8, 3)
    whole = pixels.reshape(5, 3, 8, 8)
    for cell in range(8):
        row, column = divmod(cell, 4)
        block = whole[:, :, 4 * row : 4 * row + 4, 2 * column : 2 * column + 2]
        np.testing.assert_allclose(cells[:, cell], block.mean((2, 3)), rtol=1e-5, atol=1e-6)
    facts = extract.facts(backbone, images, "dense")
    assert facts is not None
    assert facts.dim == 24


def test_shape_and_layer_agree_for_a_real_backbone() -> None:
    backbone = PixelStatistics().train()
    found = call_of(backbone, "dense")(torch.rand(2, 3, 64, 64))
    assert dense_shape(backbone) == (16, 8)
    assert found.shape == (2, 16 * 8)
    assert not backbone.training


def test_gem_is_the_generalised_mean_of_that_map(tmp_path: Path) -> None:
    backbone, images = Mapped(side=8), random_images(3)
    extract = Extractor(ExtractSettings(tmp_path, device="cpu", workers=1))
    cells = extract(backbone, images, "dense").reshape(3, 8, 3).astype(np.float64)
    by_hand = (np.maximum(cells, 0) ** 3).mean(1) ** (1 / 3)
    np.testing.assert_allclose(extract(backbone, images, GEM), by_hand, rtol=1e-5, atol=1e-6)


def test_gem_of_huge_tiny_and_negative_maps() -> None:
    maps = torch.tensor([1e30, 1e-30, -3.0, 0.0]).view(1, 4, 1, 1).expand(1, 4, 2, 2)
    assert gem(maps)[0].tolist() == pytest.approx([1e30, 1e-30, 0, 0], rel=1e-5)
    many = torch.rand(1, 1, 5, 5)
    assert gem(many, power=100.0).item() == pytest.approx(many.max().item(), rel=0.05)
    assert gem(many, power=1.0).item() == pytest.approx(many.mean().item())


def test_a_backbone_without_maps_says_so() -> None:
    with pytest.raises(NotImplementedError, match="fake"):
        dense_shape(Fake())
    with pytest.raises(NotImplementedError, match="fake"):
        call_of(Fake(), GEM)(torch.rand(1, 3, 8, 8))
