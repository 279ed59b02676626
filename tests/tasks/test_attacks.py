"""Attacks against the exact robust accuracy of linear classifiers, and the signs of masked gradients on models that
mask theirs and on models that do not."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tasks.ood.attacks.apgd import APGD, TargetedAPGD, checkpoints, climb
from tasks.ood.attacks.ensemble import NEVER, Pictures, attacks_of, fall
from tasks.ood.attacks.losses import Aim, cross_entropy, dlr, margin, targeted_dlr
from tasks.ood.attacks.pgd import PGD
from tasks.ood.attacks.square import Square
from tasks.ood.attacks.threat import Batch, Norm, Threat, is_right, lengths
from tasks.ood.masking import signs_of_masking

SIDE = 6
RADII: dict[Norm, tuple[float, ...]] = {"linf": (0.02, 0.05, 0.1), "l2": (0.1, 0.3, 0.6)}
ALL = ("pgd", "apgd-ce", "apgd-dlr", "apgd-targeted", "square")
CPU = torch.device("cpu")


@dataclass
class Linear:
    """Images that a linear classifier has right, in the whole of [0, 1] or (``inside``) far from its ends."""

    classes: int
    inside: bool = False

    def __post_init__(self) -> None:
        generator = np.random.default_rng(self.classes)
        dim = 3 * SIDE * SIDE
        self.weights = generator.normal(size=(self.classes, dim)) / np.sqrt(dim)
        self.bias = -(self.weights @ np.full(dim, 0.5))
        low, high = (110, 146) if self.inside else (0, 256)
        pixels = generator.integers(low, high, (60, 3, SIDE, SIDE), dtype=np.uint8)
        self.images = pixels.reshape(60, -1) / 255
        self.labels = (self.images @ self.weights.T + self.bias).argmax(1)
        self.pictures = Pictures(torch.from_numpy(pixels), self.labels, 0, CPU, 32)

    def __call__(self, pixels: Tensor) -> Tensor:
        weights, bias = (torch.tensor(each, dtype=torch.float32) for each in (self.weights, self.bias))
        return pixels.flatten(1) @ weights.T + bias

    def pairs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each image against each other class in turn: the weights of the margin, and the margin."""
        turns = [(self.labels + turn) % self.classes for turn in range(1, self.classes)]
        weights = [self.weights[self.labels] - self.weights[others] for others in turns]
        biases = [self.bias[self.labels] - self.bias[others] for others in turns]
        return [(each, (each * self.images).sum(1) + bias) for each, bias in zip(weights, biases, strict=True)]

    def falls_in_ball(self, threat: Threat) -> np.ndarray:
        """Margin over dual norm: the distance to the nearest other class, without the box."""
        order = 1 if threat.norm == "linf" else 2
        return np.min([m / np.linalg.norm(w, order, axis=1) for w, m in self.pairs()], axis=0) <= threat.radius

    def falls(self, threat: Threat) -> np.ndarray:
        """With the box: the lowest each margin can be made, exactly."""
        lowest = [m + (w * steepest_change(w, self.images, threat)).sum(1) for w, m in self.pairs()]
        return np.min(lowest, axis=0) <= 0


def steepest_change(weights: np.ndarray, images: np.ndarray, threat: Threat) -> np.ndarray:
    """For each row the change within ball and box that lowers ``weights @ change`` most: at an end of each pixel's
    range, or for L2 clip(-l w) with the l whose length is the radius (this convex problem's optimality conditions)."""
    low, high = -images, 1 - images
    if threat.norm == "linf":
        return np.where(weights > 0, np.maximum(low, -threat.radius), np.minimum(high, threat.radius))
    below, above = np.zeros((len(images), 1)), np.full((len(images), 1), 1e6)
    for _ in range(80):  # 1e6 / 2^80: as exact as float64
        middle = (below + above) / 2
        long = np.linalg.norm(np.clip(-middle * weights, low, high), axis=1, keepdims=True) > threat.radius
        below, above = np.where(long, below, middle), np.where(long, middle, above)
    return np.clip(-below * weights, low, high)


def fallen(model: Linear, norm: Norm, *names: str) -> list[np.ndarray]:
    """Whether each image has fallen at each radius."""
    threats = [Threat(norm, radius) for radius in RADII[norm]]
    found = fall(model, model.pictures, threats, attacks_of(names, 40, 500, 9)).budget
    return [found <= place for place in range(len(threats))]


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    ("classes", "names"),
    [(2, ["pgd"]), (2, ["apgd-ce"]), (2, ["apgd-dlr"]), (2, ["apgd-targeted"]), (3, ["apgd-dlr"]),
     (3, ["apgd-targeted"]), (6, ["apgd-targeted"]), (6, ["apgd-ce", "apgd-targeted"])],
)  # fmt: skip
def test_what_falls_is_what_exactly_can(norm: Norm, classes: int, names: list[str]) -> None:
    """Nothing falls that cannot, and everything does that can within 98 % of the radius."""
    model = Linear(classes)
    for radius, found in zip(RADII[norm], fallen(model, norm, *names), strict=True):
        assert not (found & ~model.falls(Threat(norm, radius * (1 + 1e-5)))).any()
        assert found[model.falls(Threat(norm, radius * 0.98))].all()
    assert found.sum() > 15


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_away_from_the_box_the_critical_radius_is_margin_over_dual_norm(norm: Norm) -> None:
    model = Linear(4, inside=True)
    for radius in (0.004, 0.01) if norm == "linf" else (0.04, 0.1):
        threat = Threat(norm, radius)
        assert (model.falls_in_ball(threat) == model.falls(threat)).all()
        found = fall(model, model.pictures, [threat], attacks_of(["apgd-targeted"], 40, 1, 9)).budget == 0
        assert not (found & ~model.falls_in_ball(Threat(norm, radius * (1 + 1e-5)))).any()
        assert found[model.falls_in_ball(Threat(norm, radius * 0.98))].all()
    assert 0 < found.sum() < 60


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["pgd", "apgd-ce", "apgd-dlr", "square"])
def test_of_many_classes_no_attack_finds_what_is_not_there_and_each_most_of_what_is(norm: Norm, name: str) -> None:
    """Without targets a gradient mixes classes, and squares are no linear model's worst."""
    model = Linear(6)
    for radius, found in zip(RADII[norm], fallen(model, norm, name), strict=True):
        exact = model.falls(Threat(norm, radius * (1 + 1e-5)))
        assert not (found & ~exact).any()
        assert found.sum() >= 0.75 * exact.sum()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    "attack",
    [PGD(7), PGD(7, from_image=True), APGD(9, cross_entropy), APGD(9, dlr), TargetedAPGD(5, 3), Square(30)],
    ids=lambda attack: type(attack).__name__ + getattr(getattr(attack, "loss", None), "__name__", ""),
)
def test_every_point_is_in_the_ball_and_in_the_box(norm: Norm, attack: Callable[..., Tensor]) -> None:
    model = Linear(5)
    _, batch = next(model.pictures.batches(np.arange(20)))
    for radius in (0.01, 0.2, 3.0):
        moved = attack(model, batch, Threat(norm, radius))
        change = moved - batch.images
        size = change.abs().amax((1, 2, 3)) if norm == "linf" else lengths(change).flatten()
        assert (size <= radius * (1 + 1e-5) + 1e-6).all()
        assert moved.min() >= 0
        assert moved.max() <= 1
        assert (change != 0).any()


def test_one_image_is_attacked_alike_in_any_batch() -> None:
    model = Linear(5)
    many, alone = (Pictures(model.pictures.pixels[:20], model.labels[:20], 0, CPU, size) for size in (16, 1))
    threats, attacks = [Threat("linf", radius) for radius in (0.01, 0.02)], attacks_of(ALL[1:], 10, 50, 3)
    together, one = (fall(model, pictures, threats, attacks) for pictures in (many, alone))
    assert (together.budget == one.budget).all()
    assert together.attack == one.attack
    assert 0 < (together.budget == NEVER).sum() < 20


def test_a_random_start_is_uniform_in_the_ball() -> None:
    batch = Batch(torch.full((500, 3, 2, 2), 0.5), torch.zeros(500, dtype=torch.long), range(500))
    change = Threat("linf", 0.1).random(batch, 0) - 0.5
    assert abs(change.std() - 0.2 / np.sqrt(12)) < 0.002
    reach = lengths(Threat("l2", 0.1).random(batch, 0) - 0.5).flatten() / 0.1
    assert reach.max() <= 1 + 1e-5
    assert abs(float((reach**12).mean()) - 0.5) < 0.05  # of 12 dimensions the share of the ball within r is r^12
    assert not torch.equal(Threat("linf", 0.1).random(batch, 0), Threat("linf", 0.1).random(batch, 1))


def test_losses_by_hand() -> None:
    logits, labels = torch.tensor([[5.0, 3.0, 2.0, 0.0, -7.0]]), torch.tensor([0])
    assert dlr(logits, labels).item() == pytest.approx(-(5 - 3) / (5 - 2))
    assert targeted_dlr(logits, labels, torch.tensor([4])).item() == pytest.approx((-7 - 5) / (5 - (2 + 0) / 2))
    assert dlr(logits * 1e4, labels).item() == pytest.approx(dlr(logits, labels).item())
    assert margin(logits, torch.tensor([2])).item() == 3
    assert dlr(logits[:, :2], labels).item() == -2
    assert targeted_dlr(logits[:, :3], labels, torch.tensor([2])).item() == -3
    assert not is_right(torch.tensor([[1.0, 1.0]]), labels).item()


@pytest.mark.parametrize("classes", [2, 3, 4, 7])
def test_no_loss_is_a_constant(classes: int) -> None:
    logits = torch.arange(classes, 0.0, -1.0, requires_grad=True)
    for target in range(1, classes):
        losses = [
            dlr(logits[None], torch.tensor([0])),
            targeted_dlr(logits[None], torch.tensor([0]), torch.tensor([target])),
        ]
        for loss in losses:
            (gradient,) = torch.autograd.grad(loss.sum(), logits, retain_graph=True)
            assert gradient.abs().max() > 1e-3


def test_the_step_halves_where_the_loss_cannot_rise() -> None:
    """f(x) = -|x - c| for one pixel: with a step of one length it would jump about c for ever."""
    centre = 0.5 + 0.1 / 3

    def model(pixels: Tensor) -> Tensor:
        height = (pixels - centre).abs().sum((1, 2, 3))
        return torch.stack([10 + height, torch.zeros_like(height)], 1)

    batch = Batch(torch.full((1, 3, 1, 1), 0.5), torch.tensor([0]), [0])
    found = climb(model, batch, Aim(margin, batch.labels), Threat("linf", 0.1), 100, 0)
    assert (found - centre).abs().max() < 0.01
    assert checkpoints(3) == [1, 2, 3]


class Shatter(torch.autograd.Function):
    """The identity, with gradients of random sign."""

    @staticmethod
    def forward(ctx, pixels):
        return pixels.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * torch.randn_like(gradient).sign()


MASKS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "rounded pixels": lambda model, pixels: model((pixels * 8).round() / 8),
    "saturated logits": lambda model, pixels: model(pixels) * 1e4,
    "saturated softmax": lambda model, pixels: torch.softmax(1e4 * model(pixels), 1),
    "shattered gradients": lambda model, pixels: model(Shatter.apply(pixels)),
}


def trained(seed: int, deep: bool) -> tuple[nn.Module, Pictures]:
    """A network that tells four noisy pictures apart, linear or with two layers of convolutions."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 16, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4)]
    model = nn.Sequential(*layers) if deep else nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    labels = torch.arange(256) % 4
    images = 0.75 * torch.rand(256, 3, 16, 16) + 0.25 * torch.rand(4, 3, 16, 16)[labels]
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimiser.step()
    model.requires_grad_(False)
    pixels = (images * 255).round().to(torch.uint8)
    return model, Pictures(pixels[:64], labels[:64].numpy(), seed, CPU, 32)


@pytest.mark.parametrize("deep", [False, True], ids=["linear", "convolutions"])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_honest_models_are_not_suspected(norm: Norm, seed: int, deep: bool) -> None:
    model, pictures = trained(seed, deep)
    for radius in (0.5 / 255, 8 / 255) if norm == "linf" else (0.1, 1.0):
        signs = signs_of_masking(model, pictures, Threat(norm, radius), 20, 100)
        assert signs is not None
        assert signs.images == 32
        assert list(signs.suspicions()) == []


@pytest.mark.parametrize("deep", [False, True], ids=["linear", "convolutions"])
@pytest.mark.parametrize("mask", MASKS)
def test_masked_gradients_are_caught(mask: str, deep: bool) -> None:
    model, pictures = trained(0, deep)
    torch.manual_seed(0)
    signs = signs_of_masking(lambda pixels: MASKS[mask](model, pixels), pictures, Threat("linf", 8 / 255), 20, 100)
    assert signs is not None
    assert len(list(signs.suspicions())) >= 2


@pytest.mark.parametrize("mask", ["rounded pixels", "shattered gradients"])
def test_random_search_breaks_what_masked_gradients_cannot(mask: str) -> None:
    model, pictures = trained(1, True)
    torch.manual_seed(0)
    masked, threat = (lambda pixels: MASKS[mask](model, pixels)), Threat("linf", 40 / 255)
    share = {}
    for names in (["pgd"], ["pgd", "square"]):
        share[len(names)] = (fall(masked, pictures, [threat], attacks_of(names, 20, 200, 3)).budget == NEVER).mean()
    honest = (fall(model, pictures, [threat], attacks_of(["pgd"], 20, 200, 3)).budget == NEVER).mean()
    assert share[1] > share[2] + 0.3
    assert honest <= share[2] < 0.5
    signs = signs_of_masking(masked, pictures, threat, 20, 200)
    assert signs is not None
    assert signs.black_box_only > 0.1


def test_nan_logits_are_no_robustness() -> None:
    model = Linear(3)
    with pytest.raises(FloatingPointError, match="no robustness"):
        fall(
            lambda pixels: model(pixels) * torch.nan,
            model.pictures,
            [Threat("linf", 0.1)],
            attacks_of(["pgd"], 2, 1, 1),
        )
