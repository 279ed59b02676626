"""Case 17 for features: one NaN or infinity is refused, naming the image, and nothing is cached."""

import pytest
import torch

from backbones.features import Extractor, ExtractSettings
from tests.feature_fakes import Fake, random_images


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("row", [0, 45, 99])
def test_one_bad_value_is_refused(tmp_path, poison, row):
    seen = 0

    def poisoned(images):
        nonlocal seen
        features = images.flatten(1).clone()
        if len(images) > 2:  # not one of the trial runs on two images
            if seen <= row < seen + len(images):
                features[row - seen, 3] = poison
            seen += len(images)
        return features

    extractor = Extractor(ExtractSettings(tmp_path, device="cpu", batch_size=25))
    with pytest.raises(
        FloatingPointError, match=rf"fake: NaN or infinite .* first 'image-{row}.png'; nothing was cached"
    ):
        extractor(Fake(poisoned), random_images(100, side=8))
    assert not list(tmp_path.rglob("*.npy"))
    assert extractor(Fake(), random_images(100, side=8)).shape == (100, 192)


def test_the_count_and_the_first_are_named(tmp_path):
    extractor = Extractor(ExtractSettings(tmp_path, device="cpu"))
    with pytest.raises(FloatingPointError, match=r"30 of 30 images, the first 'image-0.png'"):
        extractor(Fake(lambda images: torch.full((len(images), 4), float("nan"))), random_images(30))
