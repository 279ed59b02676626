"""Small things to train, in memory; also imported by the processes that a test or a training starts."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from backbones.training.execution import Execution
from backbones.training.loop import fit
from backbones.training.outcomes import Fitted
from backbones.training.recipe import Recipe
from backbones.training.trainee import Trainee

CLASSES = 4
RECIPE = Recipe(
    epochs=3,
    global_batch=12,
    warmup_epochs=1,
    learning_rate=3e-3,
    layer_decay=0.8,
    average_decay=0.9,
    clip_norm=1.0,
)
"""Of 40 items: 3 steps an epoch, 9 in all, 4 items of each epoch unread."""


class Memory:
    """Random images with labels that can be learnt; ``item`` may change one before it is read."""

    def __init__(self, items: int = 40, item: Callable[[int, int, Tensor], Tensor] | None = None) -> None:
        generator = torch.Generator().manual_seed(7)
        self.labels = torch.randint(0, CLASSES, (items,), generator=generator)
        self.images = torch.randn(items, 3, 32, 32, generator=generator) + self.labels.view(-1, 1, 1, 1)
        self.item = item
        self.reads: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.images)

    @property
    def names(self) -> Sequence[str]:
        return [f"image-{index}" for index in range(len(self))]

    def load(self, index: int, epoch: int) -> tuple[Tensor, Tensor]:
        self.reads.append((epoch, index))
        generator = torch.Generator().manual_seed(1000 * epoch + index)
        image = self.images[index] + 0.1 * torch.randn(self.images[index].shape, generator=generator)
        return (image if self.item is None else self.item(index, epoch, image)), self.labels[index]

    def batch(self, items: Sequence[Any], step: int, device: torch.device) -> tuple[Tensor, Tensor]:
        images, labels = zip(*items, strict=True)
        return torch.stack(images).to(device), torch.stack(labels).to(device)


class Classifier(Trainee):
    """A model, and the modules and parameters of its layers in depth order."""

    def __init__(self, model: nn.Module, layers: Sequence[tuple[str, Sequence[nn.Module | nn.Parameter]]]) -> None:
        super().__init__()
        self.model, self.loudness = model, 1.0
        names = {parameter: name for name, parameter in self.named_parameters()}
        self.depths = [(layer, [names[one] for part in parts for one in _parameters(part)]) for layer, parts in layers]

    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        logits = self.model(images.to(next(self.parameters()).dtype))
        return self.loudness * nn.functional.cross_entropy(logits, labels)

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        return [(layer, [self.get_parameter(name) for name in names]) for layer, names in self.depths]


def _parameters(part: nn.Module | nn.Parameter) -> list[nn.Parameter]:
    return list(part.parameters()) if isinstance(part, nn.Module) else [part]


def tiny_vit(drop_path: float = 0.0, seed: int = 0) -> Classifier:
    """timm's test_vit with its own initialisation and a head that is not zero."""
    torch.manual_seed(seed)
    model = timm.create_model("test_vit", num_classes=CLASSES, img_size=32, drop_path_rate=drop_path)
    nn.init.normal_(model.head.weight, std=0.05)
    blocks = [(f"block{index}", [block]) for index, block in enumerate(model.blocks)]
    blocks[-1][1].append(model.norm)
    stem = [model.cls_token, model.pos_embed, model.patch_embed]
    return Classifier(model, [("stem", stem), *blocks, ("head", [model.head])])


def tiny_convolutions(seed: int = 0) -> Classifier:
    """BatchNorm and dropout in two parts, and a head."""
    torch.manual_seed(seed)
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2))
    body = nn.Sequential(nn.Conv2d(8, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES))
    return Classifier(nn.Sequential(stem, body, head), [("stem", [stem]), ("body", [body]), ("head", [head])])


def drifting_sum(model: Trainee) -> dict[str, float]:
    """An evaluation that sees every weight and buffer."""
    return {"sum": float(sum(value.double().sum() for value in model.state_dict().values()))}


def digest(fitted: Fitted, trainee: Trainee) -> str:
    """Every bit of what came out of a training."""
    rows = [sorted(row.items()) for row in (*fitted.history, *fitted.epochs)]
    seen = hashlib.sha256(repr((rows, fitted.steps)).encode())
    for model in (trainee, fitted.model):
        for name, value in sorted(model.state_dict().items()):
            seen.update(name.encode() + value.contiguous().numpy().tobytes())
    return seen.hexdigest()


def train_to_file(folder: Path, result: Path, trainee: str, log: Any = None, **changes: Any) -> None:
    """A training with a checkpoint after every step, its digest written at the end: what a child process does."""
    torch.set_num_threads(1)
    made = {"vit": lambda: tiny_vit(drop_path=0.2), "convolutions": tiny_convolutions}[trainee]()
    execution = Execution(device="cpu", workers=0, device_batch=4, folder=folder, checkpoint_minutes=0.0, **changes)
    fitted = fit(made, Memory(), RECIPE, execution, 3, evaluate=drifting_sum, log=log)
    scratch = result.with_suffix(f".{os.getpid()}")
    scratch.write_text(digest(fitted, made))
    scratch.rename(result)


class Slow(Memory):
    """A training on it takes minutes; a file tells that the second step has begun."""

    def __init__(self, started: Path) -> None:
        super().__init__()
        self.started = started

    def batch(self, items: Sequence[Any], step: int, device: torch.device) -> tuple[Tensor, Tensor]:
        if step == 1:
            self.started.touch()
        time.sleep(0.25)
        return super().batch(items, step, device)


def slow_training(folder: Path, devices: int) -> None:
    torch.set_num_threads(1)
    recipe = Recipe(epochs=100, global_batch=12, average_decay=0.9)
    fit(tiny_vit(), Slow(folder / "started"), recipe, Execution(device="cpu", devices=devices, folder=folder), 3)


class Stingy(Trainee):
    """Runs out of memory at micro-batches of more than ``room`` items, from call ``after`` on."""

    def __init__(
        self, inner: Classifier, room: int, after: int = 0, error: type[BaseException] = torch.OutOfMemoryError
    ) -> None:
        super().__init__()
        self.inner, self.room, self.after, self.error = inner, room, after, error
        self.calls, self.stop_after = 0, 10**9

    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        self.calls += 1
        if self.calls > self.stop_after:
            raise KeyboardInterrupt
        loss = self.inner(batch)
        if self.calls > self.after and len(batch[0]) > self.room:
            raise self.error(f"out of memory: {len(batch[0])} items")
        assert isinstance(loss, Tensor)
        return loss

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        return self.inner.layers()


SHAPES_RECIPE = Recipe(
    epochs=5,
    global_batch=10,
    warmup_epochs=1,
    learning_rate=3e-3,
    layer_decay=0.8,
    average_decay=0.9,
    clip_norm=1.0,
)
"""Of 40 items: 20 steps. Ten items are five pairs, so that halves of a batch are not equal."""


class Misweighted(Trainee):
    """Undoes the weight m / B of a micro-batch and gives each 1 / parts."""

    def __init__(self, inner: Classifier, parts: int) -> None:
        super().__init__()
        self.inner, self.parts = inner, parts

    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        loss = self.inner(batch) * (SHAPES_RECIPE.global_batch / (len(batch[0]) * self.parts))
        assert isinstance(loss, Tensor)
        return loss

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        return self.inner.layers()


def train_under_a_launcher(strategy: Any, path: str) -> None:
    model = tiny_vit().double()
    execution = Execution(device="cpu", workers=0, devices=2, strategy=strategy)
    fitted = fit(model, Memory(), SHAPES_RECIPE, execution, 5, evaluate=drifting_sum)
    average = {f"average.{name}": value for name, value in fitted.model.state_dict().items()}
    if torch.distributed.get_rank() == 0:
        state = {**model.state_dict(), **average}
        save_file({name: value.clone().contiguous() for name, value in state.items()}, path)
    torch.distributed.barrier()
