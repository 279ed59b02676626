"""The same methods by lightly's parts in a plain loop, fed by a DataLoader with transforms of single images."""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("lightly", reason="the rival")
from lightly.loss import DINOLoss, NegativeCosineSimilarity, NTXentLoss
from lightly.models import utils
from lightly.models.modules import MAEDecoderTIMM, MaskedVisionTransformerTIMM, heads
from lightly.transforms import BYOLTransform, DINOTransform, MAETransform, SimCLRTransform
from lightly.transforms.byol_transform import BYOLView1Transform, BYOLView2Transform
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from backbones.base import Backbone
from backbones.pretraining.views.settings import ViewGroup

Views = Sequence[Tensor]
Transform = Callable[[Image.Image], Views]


class Rival(nn.Module):
    """``forward(views)`` is the loss; ``follow`` moves what follows."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.pairs: list[tuple[nn.Module, nn.Module]] = []

    def follows(self, teacher: nn.Module, student: nn.Module) -> nn.Module:
        self.pairs.append((student, teacher))
        return teacher.requires_grad_(False)

    def follow(self) -> None:
        for student, teacher in self.pairs:
            utils.update_momentum(student, teacher, m=0.99)


class Trunk(nn.Module):
    """A backbone as the plain module that others train."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone.embed(images)


class SimCLR(Rival):
    def __init__(self, backbone: Backbone, dim: int) -> None:
        super().__init__(backbone)
        self.student = nn.Sequential(Trunk(backbone), heads.SimCLRProjectionHead(dim, 2048, 256))
        self.loss = NTXentLoss(temperature=0.2)

    def forward(self, views: Views) -> Tensor:
        return self.loss(self.student(views[0]), self.student(views[1]))


class BYOL(Rival):
    def __init__(self, backbone: Backbone, dim: int) -> None:
        super().__init__(backbone)
        self.student = nn.Sequential(Trunk(backbone), heads.BYOLProjectionHead(dim, 4096, 256))
        self.predictor = heads.BYOLPredictionHead(256, 4096, 256)
        self.teacher = self.follows(copy.deepcopy(self.student), self.student)
        self.loss = NegativeCosineSimilarity()

    def forward(self, views: Views) -> Tensor:
        predicted = [self.predictor(self.student(view)) for view in views[:2]]
        with torch.no_grad():
            targets = [self.teacher(view) for view in views[:2]]
        return 0.5 * (self.loss(predicted[0], targets[1]) + self.loss(predicted[1], targets[0]))


class DINO(Rival):
    def __init__(self, backbone: Backbone, dim: int) -> None:
        super().__init__(backbone)
        self.student, teacher = (
            nn.Sequential(Trunk(trunk), heads.DINOProjectionHead(dim, 2048, 256, 4096))
            for trunk in (backbone, copy.deepcopy(backbone))
        )
        self.teacher = self.follows(teacher, self.student)
        self.loss = DINOLoss(output_dim=4096)

    def forward(self, views: Views) -> Tensor:
        with torch.no_grad():
            targets = [self.teacher(view) for view in views[:2]]
        return self.loss(targets, [self.student(view) for view in views], epoch=0)


class MAE(Rival):
    def __init__(self, backbone: Any, dim: int) -> None:
        super().__init__(backbone)
        vit = backbone.model
        self.patch = int(vit.patch_embed.patch_size[0])
        self.encoder = MaskedVisionTransformerTIMM(vit=vit)
        self.tokens = self.encoder.sequence_length
        self.decoder = MAEDecoderTIMM(
            num_patches=vit.patch_embed.num_patches,
            patch_size=self.patch,
            embed_dim=dim,
            decoder_embed_dim=192,
            decoder_depth=2,
            decoder_num_heads=3,
        )

    def forward(self, views: Views) -> Tensor:
        (images,) = views
        size = (len(images), self.tokens)
        kept, masked = utils.random_token_mask(size=size, mask_ratio=0.75, device=images.device)
        known = self.decoder.embed(self.encoder.encode(images=images, idx_keep=kept))
        hidden = utils.set_at_index(utils.repeat_token(self.decoder.mask_token, size), kept, known)
        predicted = self.decoder.predict(utils.get_at_index(self.decoder.decode(hidden), masked))
        target = utils.get_at_index(utils.patchify(images, self.patch), masked - 1)
        return nn.functional.mse_loss(predicted, target)


RIVALS: dict[str, type[Rival]] = {"simclr": SimCLR, "byol": BYOL, "dino": DINO, "mae": MAE}


def lightly_transform(name: str, size: int) -> Transform:
    """Its transforms for images as small as CIFAR's: without blur."""
    if name == "mae":
        return MAETransform(input_size=size, min_scale=0.08)
    if name == "simclr":
        return SimCLRTransform(input_size=size, gaussian_blur=0.0)
    if name == "byol":
        return BYOLTransform(
            BYOLView1Transform(input_size=size, gaussian_blur=0.0),
            BYOLView2Transform(input_size=size, gaussian_blur=0.0),
        )
    return DINOTransform(
        global_crop_size=size, global_crop_scale=(0.08, 1.0), n_local_views=0, gaussian_blur=(0.0, 0.0, 0.0)
    )


def pil_transform(groups: Sequence[ViewGroup], size: int) -> Transform:
    """torchvision's on PIL images, as solo-learn puts them together for CIFAR."""
    made = [_of_group(group, size) for group in groups for _ in range(group.count)]
    return lambda image: [transform(image) for transform in made]


def _of_group(group: ViewGroup, size: int) -> Callable[[Image.Image], Tensor]:
    jitter = transforms.ColorJitter(group.brightness, group.contrast, group.saturation, group.hue)
    coloured = [transforms.RandomApply([jitter], group.jitter), transforms.RandomGrayscale(group.grey)]
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(size, group.crop_scale, interpolation=transforms.InterpolationMode.BICUBIC),
            *(coloured if group.jitter else []),
            *([transforms.RandomSolarize(128, group.solarise)] if group.solarise else []),
            transforms.RandomHorizontalFlip(group.flip),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )


class Pictures(Dataset[Views]):
    """Arrays in memory, as torchvision's CIFAR10 has them."""

    def __init__(self, arrays: np.ndarray, transform: Transform) -> None:
        self.arrays, self.transform = arrays, transform

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: int) -> Views:
        return self.transform(Image.fromarray(self.arrays[index]))


def plain_loop(rival: Rival, pictures: Pictures, batch: int, steps: int, workers: int) -> Iterator[dict[str, float]]:
    """Seconds of the parts of each step, once it is done."""
    loader = DataLoader(
        pictures, batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )
    trained = [parameter for parameter in rival.train().parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.06, momentum=0.9, weight_decay=1e-4)
    batches = (views for _ in range(steps) for views in loader)
    for _ in range(steps):
        clock = [time.perf_counter()]
        views = next(batches)
        clock.append(time.perf_counter())
        loss = rival(views)
        clock.append(time.perf_counter())
        loss.backward()
        clock.append(time.perf_counter())
        optimiser.step()
        optimiser.zero_grad()
        rival.follow()
        assert torch.isfinite(loss)
        clock.append(time.perf_counter())
        names = ("data and views", "forward and loss", "backward", "update")
        yield dict(zip(names, np.diff(clock).tolist(), strict=True))
