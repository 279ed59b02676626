"""JPEG files of ImageNet's size, and the conditions under which code is timed."""

from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image

IMAGES = 384


class Files:
    """JPEG files of a folder."""

    identity = "benchmark"

    def __init__(self, paths: list[Path]) -> None:
        self.paths, self.names = paths, [path.name for path in paths]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> bytes:
        return self.paths[index].read_bytes()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Blobs of several sizes and grain: about 85 kB each at quality 90, as photographs of that size are."""
    folder = tmp_path_factory.mktemp("jpegs")
    (folder / "a").mkdir()
    random = np.random.default_rng(0)
    for index in range(IMAGES):
        image = random.normal(128, 9, (375, 500, 3))
        for side, strength in ((5, 140), (24, 70), (94, 40)):
            noise = Image.fromarray(random.integers(0, 256, (side, side * 4 // 3, 3), dtype=np.uint8))
            image += (np.asarray(noise.resize((500, 375), Image.Resampling.BICUBIC)) / 255 - 0.5) * strength
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(folder / "a" / f"{index:04}.jpg", quality=90)
    return Files(sorted((folder / "a").iterdir()))


@pytest.fixture
def two_cores_and_no_shape_checks():
    """Shapes are checked in tests only, so a user does not pay for them."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch.set_num_threads(before)
