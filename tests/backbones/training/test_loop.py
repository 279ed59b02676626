"""The loop against one written by hand, and the options that change no number."""

import copy
import dataclasses
from typing import Any

import pytest
import torch
from timm.optim.lars import Lars
from timm.optim.muon import Muon
from torch import Tensor, nn

from backbones.training.execution import Execution
from backbones.training.loop import fit
from backbones.training.order import epoch_order
from backbones.training.recipe import Recipe
from backbones.training.schedule import learning_rate
from tests.training_fakes import Classifier, Memory, drifting_sum, tiny_convolutions, tiny_vit

RECIPE = Recipe(
    epochs=3, global_batch=12, warmup_epochs=1, learning_rate=3e-3, layer_decay=0.5, average_decay=0.8, clip_norm=0.5
)


def by_hand(trainee: Classifier, recipe: Recipe) -> tuple[list[float], dict[str, Tensor]]:
    """Plain PyTorch, a parameter a group: losses, and the average of weights and buffers by its definition."""
    stream, layers, groups = Memory(), trainee.layers(), []
    for depth, (_, parameters) in enumerate(layers):
        for parameter in sorted(parameters, key=lambda parameter: parameter.ndim <= 1):  # a norm is summed in order
            decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
            scale = recipe.layer_decay ** (len(layers) - 1 - depth)
            groups.append({"params": [parameter], "weight_decay": decay, "scale": scale, "wide": parameter.ndim > 1})
    optimiser = optimiser_by_hand(groups, recipe)
    losses, average = [], {}
    trainee.train()
    for step in range(3 * recipe.epochs):
        rows = epoch_order(len(stream), 5, step // 3)[step % 3 * 12 : step % 3 * 12 + 12]
        loss = trainee(stream.batch([stream.load(int(row), step // 3) for row in rows], step, torch.device("cpu")))
        optimiser.zero_grad()
        loss.backward()
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_([one for group in groups for one in group["params"]], recipe.clip_norm)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(recipe, step, 3) * group["scale"]
        optimiser.step()
        losses.append(float(loss.detach()))
        for name, value in trainee.state_dict().items():
            new = value.clone()
            if step and recipe.average_decay is not None and value.is_floating_point():
                new = recipe.average_decay * average[name] + (1 - recipe.average_decay) * value
            average[name] = new
    return losses, average


def optimiser_by_hand(groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=1.0, momentum=recipe.momentum, nesterov=recipe.nesterov)
    if recipe.optimiser == "lars":
        groups = [{**group, "always_adapt": group["wide"]} for group in groups]
        return Lars(groups, lr=1.0, momentum=recipe.momentum, nesterov=recipe.nesterov)  # type: ignore[no-any-return]
    if recipe.optimiser == "muon":
        return Muon(groups, momentum=recipe.momentum, nesterov=recipe.nesterov, betas=recipe.betas)  # type: ignore[no-any-return]
    return torch.optim.AdamW(groups, betas=recipe.betas)


def without_dropout(trainee: Classifier) -> Classifier:
    for module in trainee.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return trainee


def run(trainee: Classifier, recipe: Recipe = RECIPE, **how: Any) -> Any:
    execution = Execution(device="cpu", workers=0, channels_last=False, **how)
    return fit(trainee, Memory(), recipe, execution, 5, evaluate=drifting_sum)


@pytest.mark.parametrize("make", [tiny_vit, tiny_convolutions])
@pytest.mark.parametrize("optimiser", ["adamw", "sgd", "lars", "muon"])
def test_as_a_loop_written_by_hand(make: Any, optimiser: Any) -> None:
    recipe = dataclasses.replace(RECIPE, optimiser=optimiser, nesterov=optimiser != "adamw")
    theirs, ours = without_dropout(make()), without_dropout(make())
    losses, average = by_hand(theirs, recipe)
    fitted = run(ours, recipe)
    assert [row["loss"] for row in fitted.history] == losses
    assert fitted.steps == len(losses)
    for name, value in theirs.state_dict().items():
        assert torch.equal(value, ours.state_dict()[name]), name
    for name, value in average.items():
        if value.is_floating_point():
            torch.testing.assert_close(fitted.model.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    assert fitted.epochs[-1]["sum"] == drifting_sum(fitted.model)["sum"]
    assert fitted.epochs[1]["loss"] == pytest.approx(sum(losses[3:6]) / 3, rel=1e-12)
    assert not ours.training


def test_frozen_layers_do_not_move() -> None:
    trainee = tiny_convolutions()
    before = copy.deepcopy(trainee.state_dict())
    run(trainee, dataclasses.replace(RECIPE, frozen_layers=1))
    same = {name for name, value in trainee.state_dict().items() if torch.equal(value, before[name])}
    assert same == {name for name in before if name.startswith("model.0")}


def test_the_callers_chance_is_left_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    trainee = tiny_convolutions
    torch.manual_seed(1)
    state = torch.get_rng_state()
    made = trainee()
    torch.set_rng_state(state)
    run(made)
    assert torch.equal(torch.rand(3), expected)


def test_drop_path_differs_between_steps_and_seeds() -> None:
    """A seed that were the same in every step would drop the same paths for ever."""
    from backbones.training.chance import seed_of

    seeds = {seed_of(seed, step, part) for seed in range(3) for step in range(40) for part in range(4)}
    assert len(seeds) == 3 * 40 * 4
    dropped = run(tiny_vit(drop_path=0.5)).history
    assert dropped != run(tiny_vit()).history
    assert dropped == run(tiny_vit(drop_path=0.5)).history


class Recomputing(Classifier):
    """Offers to compute activations again."""

    def recompute(self) -> None:
        self.model.set_grad_checkpointing()  # type: ignore[operator]


def test_activations_computed_again_change_no_bit() -> None:
    trainees = [tiny_vit(drop_path=0.5) for _ in range(2)]
    trainees[1].__class__ = Recomputing
    histories = [run(trainee, gradient_checkpointing=trainee.__class__ is Recomputing).history for trainee in trainees]
    assert histories[0] == histories[1]
    assert trainees[1].model.grad_checkpointing
    with pytest.raises(ValueError, match="gradient_checkpointing: Classifier offers none"):
        run(tiny_vit(), gradient_checkpointing=True)


@pytest.mark.parametrize("precision", ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)])
def test_half_precision_learns_much_the_same(precision: Any) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=10)
    full, half = run(tiny_vit(), recipe).history, run(tiny_vit(), recipe, precision=precision).history
    assert half != full
    assert half[-1]["loss"] == pytest.approx(full[-1]["loss"], rel=0.1)
    assert full[-1]["loss"] < 0.5 * full[0]["loss"]


def test_targets_are_not_rounded_in_half_precision() -> None:
    seen = []

    class Regression(Classifier):
        def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            images, targets = batch
            seen.append(targets.dtype)
            return ((self.model(images)[:, 0] - targets.float()) ** 2).mean()

    class Real(Memory):
        def batch(self, items: Any, step: int, device: torch.device) -> tuple[Tensor, Tensor]:
            images, labels = super().batch(items, step, device)
            return images, labels.float() + 1e-4

    trainee = tiny_convolutions()
    trainee.__class__ = Regression
    fit(trainee, Real(), RECIPE, Execution(device="cpu", workers=0, precision="bfloat16"), 5)
    assert set(seen) == {torch.float32}


@pytest.mark.slow
def test_compiled_learns_the_same() -> None:
    plain, compiled = without_dropout(tiny_convolutions()), without_dropout(tiny_convolutions())
    histories = [run(plain, device_batch=4).history, run(compiled, device_batch=4, compile=True).history]
    losses = [[row["loss"] for row in history] for history in histories]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_batch_larger_than_the_set() -> None:
    with pytest.raises(ValueError, match="global_batch=41 is larger than the training set of 40 items"):
        run(tiny_vit(), dataclasses.replace(RECIPE, global_batch=41))


def test_more_devices_than_a_launcher_started() -> None:
    with pytest.raises(ValueError, match="devices=2 x nodes=3 need 6 processes, but the launcher started 1"):
        run(tiny_vit(), devices=2, nodes=3)


def test_progress_and_rows_are_told() -> None:
    said: list[Any] = []
    told: list[Any] = []
    execution = Execution(device="cpu", workers=0, report=lambda *what: said.append(what))
    fitted = fit(tiny_vit(), Memory(), RECIPE, execution, 5, log=lambda kind, row: told.append((kind, row)))
    assert [each[:3] for each in said] == [("step", step, 9) for step in range(1, 10)]
    losses = [f"loss {row['loss']:.3g}" for row in fitted.history]
    assert [each[3] for each in said] == ["", *losses[:-1]]  # a step's loss is read while the next one is computed
    assert [row for kind, row in told if kind == "step"] == fitted.history
    assert [row for kind, row in told if kind == "epoch"] == fitted.epochs
    assert [kind for kind, _ in told] == ["step", "step", "step", "epoch"] * 3
    assert fitted.images_per_second > 0
