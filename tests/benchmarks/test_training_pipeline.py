"""The training data pipeline against torchvision's ImageFolder and torch's DataLoader; ratios of one run.

Random resized crops and flips of 500 x 375 JPEGs to normalised float32 batches of 64 at 224, on the CPU, 2 workers. The
rivals' workers stay between epochs and rounds; ours are started in every round of three epochs, which counts.
"""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import (
    Compose,
    InterpolationMode,
    Normalize,
    RandomHorizontalFlip,
    RandomResizedCrop,
    ToTensor,
)

from backbones.base import Preprocess
from backbones.training.augmentation import Augmentation
from backbones.training.images_stream import ImagesStream
from backbones.training.loader import Wanted, load
from tests.benchmarks.turns import in_turns

timm = pytest.importorskip("timm", reason="a rival is timm's loader")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("two_cores_and_no_shape_checks")]

BATCH, WORKERS, EPOCHS = 64, 2, 3
PREPROCESS = Preprocess((224, 224), 256, "center", "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CPU = torch.device("cpu")


def torchvision_loader(files):
    transform = Compose(
        [
            RandomResizedCrop(224, interpolation=InterpolationMode.BILINEAR),
            RandomHorizontalFlip(),
            ToTensor(),
            Normalize(PREPROCESS.mean, PREPROCESS.std),
        ]
    )
    folder = ImageFolder(str(files.paths[0].parents[1]), transform)
    return DataLoader(folder, BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True, drop_last=True)


def timm_loader(files, rand_augment):
    return timm.data.create_loader(
        timm.data.create_dataset("", root=str(files.paths[0].parents[1])),
        (3, 224, 224),
        BATCH,
        is_training=True,
        auto_augment=rand_augment,
        color_jitter=None,
        interpolation="bilinear",
        mean=PREPROCESS.mean,
        std=PREPROCESS.std,
        num_workers=WORKERS,
        use_prefetcher=False,
        persistent_workers=True,
        device=CPU,
    )


def ours(files, augmentation):
    stream = ImagesStream(files, range(len(files)), np.zeros(len(files), int), PREPROCESS, augmentation, 0, 1)

    def run() -> int:
        orders = [np.random.permutation(len(stream)).reshape(-1, BATCH).tolist() for _ in range(EPOCHS)]
        wanted = [Wanted(epoch, tuple(rows)) for epoch, order in enumerate(orders) for rows in order]
        loaded = load(stream, wanted, WORKERS)
        return sum(len(stream.batch(items, step, CPU).images) for step, items in enumerate(loaded))

    return run


def all_of(loader):
    return lambda: sum(len(images) for _ in range(EPOCHS) for images, _ in loader)


def test_crops_and_flips(files):
    rival = torchvision_loader(files)
    speed = in_turns({"ImageFolder + DataLoader": all_of(rival), "ours": ours(files, Augmentation())})
    print(f"{speed['ours'] / speed['ImageFolder + DataLoader']:.2f} times")
    assert speed["ours"] >= 1.3 * speed["ImageFolder + DataLoader"]


def test_rand_augment(files, monkeypatch):
    """timm's operations in both; its ``posterize`` is mended for the rival too, which Pillow 13 would end."""
    from timm.data import auto_augment

    from backbones.training.augment import _posterize

    for name in ("Posterize", "PosterizeIncreasing"):
        monkeypatch.setitem(auto_augment.NAME_TO_OP, name, _posterize)
    words = "rand-m9-mstd0.5-inc1"
    speed = in_turns(
        {"timm loader": all_of(timm_loader(files, words)), "ours": ours(files, Augmentation(rand_augment=words))}
    )
    print(f"{speed['ours'] / speed['timm loader']:.2f} times")
    assert speed["ours"] >= speed["timm loader"]
