"""Images and backbones made on the spot, for tests of feature extraction; also imported by their child processes."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from backbones.base import Backbone, Card, Preprocess

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def card(name: str = "fake", weights: str = "0" * 64) -> Card:
    return Card(name, "supervised", "fake", 0, "none", "none", "tests 1", "1", "none", weights)


class MemoryImages:
    """Encoded images held in memory; ``reads`` counts how often each was asked for."""

    def __init__(self, data: list[bytes]) -> None:
        self.data, self.names = data, [f"image-{index}.png" for index in range(len(data))]
        self.reads = [0] * len(data)

    @property
    def identity(self) -> str:
        return hashlib.sha256(b"".join(hashlib.sha256(each).digest() for each in self.data)).hexdigest()

    def __len__(self) -> int:
        return len(self.data)

    def read(self, index: int) -> bytes:
        self.reads[index] += 1
        return self.data[index]


def png(index: int, side: int = 20) -> bytes:
    pixels = np.random.default_rng(index).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=0)
    return file.getvalue()


def random_images(count: int, side: int = 20) -> MemoryImages:
    return MemoryImages([png(index, side) for index in range(count)])


class Fake(Backbone):
    """``function`` of the preprocessed batch; by default the pixels themselves, so features can be computed by hand."""

    def __init__(self, function: Callable[[Tensor], Tensor] | None = None, side: int = 8, weights: str = "0" * 64):
        super().__init__()
        self.function = function or (lambda images: images.flatten(1))
        self.card = card(weights=weights)
        self.preprocess = Preprocess((side, side), side, "center", "bilinear", MEAN, STD)
        self.batches: list[int] = []

    def embed(self, images):
        self.batches.append(len(images))
        return self.function(images)

    def feature_maps(self, images):
        raise NotImplementedError(self.card.name)

    def layers(self):
        return []


class Wrapped(Fake):
    """Any plain module as a backbone; ``head`` makes it a classifier."""

    def __init__(self, module: nn.Module, side: int = 32, weights: str = "1" * 64):
        super().__init__(None, side, weights)
        self.module = module
        self.function = self._run

    def _run(self, images: Tensor) -> Tensor:
        return self.module(images)


class WithHead(Fake):
    """A backbone with a classifier of its own: two times its features."""

    classes = tuple("abc")

    def classify(self, images):
        return 2 * torch.stack([images.mean(dim=(1, 2, 3))] * 3, dim=1)


class Speaking(Fake):
    """A backbone with a text tower that reads ``context`` words: a vector for each sequence of them, drawn by it.

    ``heard`` holds the prompts it was given, ``calls`` how many at a time.
    """

    logit_scale = 10.0
    context = 8

    def __init__(self, dim: int = 192, weights: str = "2" * 64, log: Path | None = None) -> None:
        super().__init__(weights=weights)
        self.dim, self.log = dim, log
        self.heard: list[str] = []
        self.calls: list[int] = []

    def embed_text(self, prompts):
        self.heard += prompts
        self.calls.append(len(prompts))
        if self.log is not None:
            with self.log.open("a") as file:
                file.writelines(f"{prompt}\n" for prompt in prompts)
        return torch.stack([self.vector(prompt) for prompt in prompts])

    def overlong(self, prompts):
        return [prompt for prompt in prompts if len(prompt.split()) > self.context]

    def vector(self, prompt: str) -> Tensor:
        words = " ".join(prompt.split()[: self.context])
        seed = int.from_bytes(hashlib.sha256(words.encode()).digest()[:4])
        return torch.randn(self.dim, generator=torch.Generator().manual_seed(seed))
