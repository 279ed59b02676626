"""Health of features against closed forms, and each suspicion from what it is there to catch."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from backbones.base import Preprocess
from backbones.feature_health import Health, effective_rank, health
from backbones.features import Extractor, ExtractSettings
from tests.feature_fakes import Fake, random_images

SOUND = Health("0" * 64, False, 20.0, 0.0, 0.0, (0.1, 0.0, -0.2), (1.0, 0.9, 1.1), 100)


def of(matrix: np.ndarray, block: int = 32) -> Health:
    inputs = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)
    parts = [matrix[start : start + block] for start in range(0, len(matrix), block)]
    return health(iter(parts), len(matrix), ["a", "b"], inputs)


@pytest.mark.parametrize("rank", [1, 3, 10])
def test_effective_rank_of_equal_singular_values_is_the_rank(rank: int) -> None:
    generator = np.random.default_rng(0)
    left, _ = np.linalg.qr(generator.normal(size=(200, rank + 1)) - 0.0)
    left -= left.mean(0)
    left, _ = np.linalg.qr(left[:, :rank])
    right, _ = np.linalg.qr(generator.normal(size=(32, rank)))
    assert effective_rank(5 + left @ right.T) == pytest.approx(rank, rel=1e-6)


def test_every_part_is_counted_by_hand() -> None:
    matrix = np.random.default_rng(0).normal(size=(100, 8))
    matrix[:, :2] = 3.0
    matrix[:25] = matrix[0]
    found = of(matrix)
    assert (found.looked_at, found.constant_dims, found.repeated_rows) == (100, 0.25, 0.25)
    assert not list(found.suspicions())
    assert of(matrix[:, :4]).sha256 == found.sha256  # the digest is of the checksums, which are the matrix's own


def test_a_sample_spread_over_all_rows_stands_for_a_large_matrix() -> None:
    matrix = np.random.default_rng(0).normal(size=(5000, 4))
    matrix[2500:] = 1.0
    found = of(matrix, 512)
    assert found.looked_at == 256
    assert found.repeated_rows == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input_mean": (-5.0, 0.0, 0.0)}, "mean is -5, 0, 0, far from 0"),
        ({"input_std": (255.0, 1.0, 1.0)}, "std is .*far from 1"),
        ({"input_std": (0.004, 0.004, 0.004)}, "std is .*far from 1"),
        ({"collapsed": True, "effective_rank": 0.0}, "collapsed: every image has the same features"),
        ({"effective_rank": 1.1}, "collapsed: the features have an effective rank of 1.10"),
        ({"constant_dims": 0.995}, "99.5 % of the feature dimensions are constant"),
        ({"repeated_rows": 0.8}, "80 % of the images"),
    ],
)
def test_suspicions(change: dict[str, object], words: str) -> None:
    assert not list(SOUND.suspicions())
    (found,) = replace(SOUND, **change).suspicions()
    assert re.search(words, found)


def test_statistics_in_grey_levels_instead_of_fractions_are_caught(tmp_path: Path) -> None:
    """The commonest slips in a user's own preprocessing: statistics of 0..255, and pixels that stay so."""
    with pytest.raises(ValueError, match="divide them by 255"):
        Preprocess((8, 8), 8, "center", "bilinear", (123.7, 116.3, 103.5), (58.4, 57.1, 57.4))
    backbone = Fake()
    extractor = Extractor(ExtractSettings(tmp_path, device="cpu"))
    extractor(backbone, random_images(20))
    backbone.preprocess = Preprocess((8, 8), 8, "center", "bilinear", (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))
    extractor(backbone, random_images(20))
    sound, slipped = (list(facts.health.suspicions()) for facts in extractor.used)
    assert not sound
    assert any("std" in line for line in slipped)
    again = Extractor(ExtractSettings(tmp_path, device="cpu"))
    again(backbone, random_images(20))
    assert again.used[0].health == extractor.used[1].health


def test_the_same_features_for_every_image_are_told(tmp_path: Path) -> None:
    """Up to noise far below their size: its directions are many, so that the effective rank alone would say nothing."""
    noise = torch.Generator().manual_seed(0)

    def constant(images: Tensor) -> Tensor:
        return 1 + 1e-6 * torch.randn(len(images), 8, generator=noise)

    extractor = Extractor(ExtractSettings(tmp_path, device="cpu"))
    extractor(Fake(constant), random_images(40))
    found = extractor.used[0].health
    assert found.effective_rank > 2
    assert list(found.suspicions()) == ["collapsed: every image has the same features"]
