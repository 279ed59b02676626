"""A fine-tuning step through ``fit`` against the same model in a loop written by hand in plain PyTorch."""

import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from backbones.training.execution import Execution
from backbones.training.loop import fit
from backbones.training.order import epoch_order
from backbones.training.recipe import Recipe
from backbones.training.schedule import learning_rate
from backbones.training.trainee import Trainee

pytestmark = pytest.mark.slow
BATCH, STEPS, ROUNDS = 16, 8, 7
SIDE = 96


class Images:
    """In memory, so that nothing is timed but the steps."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(BATCH * STEPS, 3, SIDE, SIDE, generator=generator)
        self.labels = torch.randint(0, 10, (BATCH * STEPS,), generator=generator)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def names(self) -> Sequence[str]:
        return [str(index) for index in range(len(self))]

    def load(self, index: int, epoch: int) -> tuple[Tensor, Tensor]:
        return self.images[index], self.labels[index]

    def batch(self, items: Sequence[Any], step: int, device: torch.device) -> tuple[Tensor, Tensor]:
        images, labels = zip(*items, strict=True)
        return torch.stack(images), torch.stack(labels)


class FineTuned(Trainee):
    """A model with a head, as one group."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        return [("all", list(self.parameters()))]


MODELS: dict[str, Any] = {
    "mobilenet_v2": lambda: mobilenet_v2(num_classes=10),
    "vit_tiny": lambda: timm.create_model("vit_tiny_patch16_224", img_size=SIDE, num_classes=10),
}
RECIPE = Recipe(epochs=1, global_batch=BATCH, warmup_epochs=0, learning_rate=1e-4, clip_norm=1.0)


def ours(trainee: FineTuned, images: Images) -> float:
    """Seconds a step, by the loop's own clock: making the optimiser and Fabric is not a step."""
    fitted = fit(trainee, images, RECIPE, Execution(device="cpu", workers=0), 0)
    assert fitted.steps == STEPS
    return BATCH / fitted.images_per_second


def by_hand(trainee: FineTuned, images: Images) -> float:
    trainee.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    decayed = [parameter for parameter in trainee.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in trainee.parameters() if parameter.ndim <= 1]
    optimiser = torch.optim.AdamW([{"params": decayed}, {"params": others, "weight_decay": 0.0}], weight_decay=0.05)
    begun = time.perf_counter()
    for step, rows in enumerate(_batches(images)):
        loss = trainee((torch.stack([images.images[row] for row in rows]), images.labels[rows]))
        loss.backward()
        nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(RECIPE, step, STEPS)
        optimiser.step()
        optimiser.zero_grad()
        assert loss.item() < 100
    return (time.perf_counter() - begun) / STEPS


def _batches(images: Images) -> Iterator[list[int]]:
    order = epoch_order(len(images), 0, 0).tolist()
    return (order[start : start + BATCH] for start in range(0, len(order), BATCH))


@pytest.mark.parametrize("name", MODELS)
def test_a_step_costs_what_it_costs_by_hand(name: str) -> None:
    """At most 3 % more. Rounds take turns, and their ratios' median is compared: the machine drifts more than that."""
    images, make = Images(), MODELS[name]
    pairs = []
    for number in range(ROUNDS + 1):
        first, second = (ours, by_hand) if number % 2 else (by_hand, ours)
        times = {first: first(FineTuned(make()), images), second: second(FineTuned(make()), images)}
        pairs.append((times[ours], times[by_hand]))
    ratios = [one / other for one, other in pairs[1:]]
    fastest = min(one for one, _ in pairs), min(other for _, other in pairs)
    print(f"\n{name}: fit {1e3 * fastest[0]:.1f} ms a step, by hand {1e3 * fastest[1]:.1f} ms; ratios {sorted(ratios)}")
    assert statistics.median(ratios) < 1.03
