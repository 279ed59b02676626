"""The learning rate of a step, against timm's schedulers."""

import pytest
import torch
from timm.scheduler.cosine_lr import CosineLRScheduler

from backbones.training.recipe import Recipe
from backbones.training.schedule import learning_rate, set_rates, weight_decay

STEPS = 7
RECIPE = {
    "epochs": 10,
    "learning_rate": 2e-3,
    "warmup_learning_rate": 1e-4,
    "minimum_learning_rate": 1e-6,
}


@pytest.mark.parametrize("warmup", [0, 3])
def test_by_step_as_timm_with_a_prefix(warmup: int) -> None:
    recipe = Recipe(**RECIPE, warmup_epochs=warmup)  # type: ignore[arg-type]
    timms = _timm(10 * STEPS - warmup * STEPS, warmup * STEPS, warmup_prefix=True)
    for step in range(10 * STEPS):
        assert learning_rate(recipe, step, STEPS) == pytest.approx(timms._get_lr(step)[0], rel=1e-12)


@pytest.mark.parametrize("warmup", [0, 3])
def test_by_epoch_as_timm_by_default(warmup: int) -> None:
    recipe = Recipe(**RECIPE, warmup_epochs=warmup, schedule="cosine_by_epoch")  # type: ignore[arg-type]
    timms = _timm(10, warmup, warmup_prefix=False)
    for step in range(10 * STEPS):
        assert learning_rate(recipe, step, STEPS) == pytest.approx(timms._get_lr(step // STEPS)[0], rel=1e-12)


def test_in_steps_as_torch() -> None:
    """After warm-up; a milestone may lie within an epoch."""
    recipe = Recipe(**{**RECIPE, "warmup_epochs": 1, "schedule": "steps", "milestones": (4, 8.5)})
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=2e-3)
    torchs = torch.optim.lr_scheduler.MultiStepLR(optimiser, [4 * STEPS, 60], gamma=0.1)
    for step in range(10 * STEPS):
        expected = torchs.get_last_lr()[0]
        if step >= STEPS:
            assert learning_rate(recipe, step, STEPS) == pytest.approx(expected, rel=1e-12)
        optimiser.step()
        torchs.step()
    assert learning_rate(recipe, 0, STEPS) == 1e-4


def test_its_ends() -> None:
    recipe = Recipe(**RECIPE, warmup_epochs=0.5)  # type: ignore[arg-type]
    assert learning_rate(recipe, 0, 100) == 1e-4
    assert learning_rate(recipe, 50, 100) == 2e-3
    assert learning_rate(recipe, 999, 100) == pytest.approx(1e-6, rel=0.01)


def test_each_group_has_its_share_and_what_is_steady_its_peak() -> None:
    kinds = [(0.25, False, False), (1.0, True, False), (1.0, False, True)]
    groups = [
        {"params": [torch.zeros(1)], "lr_scale": scale, "plain": plain, "steady": steady}
        for scale, plain, steady in kinds
    ]
    optimiser = torch.optim.SGD(groups)
    recipe = Recipe(epochs=10, learning_rate=0.4, warmup_epochs=0, minimum_learning_rate=0, weight_decay=0.1)
    set_rates(optimiser, recipe, 5 * STEPS, STEPS)
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.05, 0.2, 0.4])
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.1, 0.0, 0.1]


def test_weight_decay_moves_from_one_end_to_the_other() -> None:
    recipe = Recipe(epochs=10, weight_decay=0.04, final_weight_decay=0.4)
    assert weight_decay(recipe, 0, STEPS) == pytest.approx(0.04)
    assert weight_decay(recipe, 5 * STEPS, STEPS) == pytest.approx(0.22)
    assert weight_decay(recipe, 10 * STEPS, STEPS) == pytest.approx(0.4)
    assert weight_decay(Recipe(epochs=10, weight_decay=0.04), 5 * STEPS, STEPS) == 0.04


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 3, "warmup_epochs": 4}, "warmup_epochs .4. is above epochs .3."),
        ({"learning_rate": 1e-7}, "minimum_learning_rate .1e-06. is above learning_rate .1e-07."),
        ({"learnig_rate": 1e-3}, "learnig_rate"),
        ({"schedule": "steps"}, "steps need some"),
        ({"milestones": (3,)}, "schedule cosine has milestones .3."),
        ({"schedule": "steps", "milestones": (9, 3)}, "must rise"),
        ({"epochs": 20, "schedule": "steps", "milestones": (20,)}, "before the end, epoch 20"),
        ({"optimiser": "adam"}, "'adamw', 'sgd', 'lars' or 'muon'"),
    ],
)
def test_recipes_that_make_no_sense(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**wrong)  # type: ignore[arg-type]


def _timm(length: int, warmup: int, warmup_prefix: bool) -> CosineLRScheduler:
    return CosineLRScheduler(
        torch.optim.SGD([torch.zeros(1)], lr=2e-3),
        t_initial=length,
        lr_min=1e-6,
        warmup_t=warmup,
        warmup_lr_init=1e-4,
        warmup_prefix=warmup_prefix,
    )
