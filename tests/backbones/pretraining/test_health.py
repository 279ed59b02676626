"""The health of small trainings: twins that must fail set off the alarm, the same methods as they are meant do not."""

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbones.pretraining.health.batch_statistics import batch_statistics
from backbones.pretraining.health.closeness import closeness
from backbones.pretraining.health.collapse import LEAST, Sign, fallen, lacking, signs_of
from backbones.pretraining.health.health import Health, fixed_views, onsets
from backbones.pretraining.method import Method, MethodSettings
from backbones.training.execution import Execution
from backbones.training.loop import fit
from backbones.training.outcomes import CollapsedError
from tests.collapsing import IMAGES, PAIRS, RECIPE, SOUND_BYOL, Pair, as_it_is, beginning
from tests.pretraining_fakes import tiny_method
from tests.pretraining_twins import pattern_batch, trained


def after(settings: MethodSettings, spoil: Callable[[Any], None], pair: Pair) -> list[str]:
    """What has fallen, of fixed views, by a training's end."""
    method = tiny_method(settings, "vit")
    spoil(method)
    before = signs(method)
    return fallen(before, signs(trained(method, pair.steps, pair.rate)))


@torch.no_grad()
def signs(method: Method) -> dict[str, Sign]:
    batch = pattern_batch(1000, images=64)
    with batch_statistics(method):
        return signs_of(method.watched(method.represent(batch), batch.progress), views=2)


@pytest.mark.parametrize("name", PAIRS)
def test_twins_that_must_fail_are_seen_and_sound_methods_are_not(name: str) -> None:
    """In as many steps."""
    pair = PAIRS[name]
    assert after(pair.honest, as_it_is, pair) == []
    assert after(pair.spoilt, pair.spoil, pair) != []


def test_a_training_is_stopped_and_says_why() -> None:
    health, trainee, stream = beginning(PAIRS["swav"].spoilt, PAIRS["swav"].spoil, "stop")
    execution = Execution(device="cpu", workers=0)
    with pytest.raises(CollapsedError) as caught:
        fit(trainee, stream, RECIPE, execution, seed=0, evaluate=health)
    said = str(caught.value)
    assert caught.value.epoch is not None
    assert f"by the end of epoch {caught.value.epoch}: " in said
    assert "deviation of z is 0." in said
    assert "of the 0." in said
    assert "check what keeps the method from collapsing" in said
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.epoch) == (said, caught.value.epoch)


def test_or_warned_of_once_and_noted() -> None:
    health, trainee, stream = beginning(PAIRS["swav"].spoilt, PAIRS["swav"].spoil, "warn")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        fitted = fit(trainee, stream, RECIPE, Execution(device="cpu", workers=0), seed=0, evaluate=health)
    told = [str(each.message) for each in seen if "representations collapsed" in str(each.message)]
    began = onsets(fitted.epochs)
    assert len(told) == len(began) == 1
    assert [row["collapsed"] for row in fitted.epochs] == [float(row["epoch"] >= began[0]) for row in fitted.epochs]
    assert onsets([{"epoch": 1.0, "collapsed": at} for at in (1, 0, 1, 1)]) == [1, 1]


def test_every_number_by_name_and_nothing_is_changed() -> None:
    health, trainee, stream = beginning(SOUND_BYOL, as_it_is, "warn", probes={"knn": lambda backbone: 0.25})
    trainee.train()
    before = copy.deepcopy(trainee.state_dict())
    modes = [module.training for module in trainee.modules()]
    state = torch.get_rng_state()
    numbers = health(trainee)
    assert [module.training for module in trainee.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in trainee.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    signs = {f"{name}_{number}" for name in ("p", "t") for number in Sign._fields}
    own = {"rank_me", "deviation", "uniformity", "alignment", "lidar", "collapsed", "knn"}
    assert set(numbers) == own | signs
    assert numbers["knn"] == 0.25
    assert health(trainee) == numbers
    assert pickle.loads(pickle.dumps(Health(trainee, stream, {}, "stop"))).before == health.before


def test_fixed_views_are_spread_over_the_set() -> None:
    _, _, stream = beginning(SOUND_BYOL, as_it_is, "warn")
    batch = fixed_views(stream, most=3)
    assert batch.rows.tolist() == [0, IMAGES // 2 - 1, IMAGES - 1]


def test_closeness_against_a_loop() -> None:
    views = nn.functional.normalize(torch.randn(6, 2, 4, dtype=torch.float64), dim=-1)
    own = sum(float((views[i, 0] - views[i, 1]).square().sum()) for i in range(6)) / 6
    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    others = sum(float((views[i, 0] - views[j, 1]).square().sum()) for i, j in pairs) / len(pairs)
    assert closeness(3 * views) == pytest.approx(1 - own / others, abs=1e-9)


def test_closeness_at_its_ends() -> None:
    alone = torch.randn(5, 1, 3)
    assert closeness(torch.cat([alone, 2 * alone], dim=1)) == pytest.approx(1, abs=1e-6)
    assert closeness(torch.ones(5, 2, 3)) == 0
    with pytest.raises(ValueError, match="at least 2 are needed, got 1"):
        closeness(torch.ones(1, 2, 3))


def test_an_alarm_needs_a_number_that_has_fallen_in_every_output() -> None:
    before = {"p": Sign(10.0, 0.8, 0.2), "t": Sign(10.0, 0.8, 0.2)}
    low, high = 0.99 * LEAST.deviation * 0.8, 1.01 * LEAST.deviation * 0.8
    one = {"p": Sign(10.0, low, 0.2), "t": Sign(10.0, high, 0.2)}
    other = {"p": Sign(10.0, low, 0.2), "t": Sign(0.5, 0.8, 0.2)}
    both = {"p": Sign(10.0, low, 0.2), "t": Sign(10.0, low, 0.2)}
    assert fallen(before, one) == fallen(before, other) == fallen({}, {}) == []
    assert fallen(before, both) == [
        f"deviation of {name} is {low:.3g}, below {LEAST.deviation:g} of the 0.8 before training" for name in "pt"
    ]
    assert len(fallen(before, dict.fromkeys("pt", Sign(float("nan"), 0.8, 0.2)))) == 2


def test_a_number_of_the_methods_own_sets_it_off_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told the step that the training is at."""
    health, trainee, _ = beginning(PAIRS["swav"].honest, as_it_is, "stop")
    trainee.progress = trainee.progress._replace(step=7)
    assert health(trainee)["collapsed"] == 0
    monkeypatch.setattr(trainee.method, "least", lambda progress: {"prototype_entropy": 1.0 + 0.1 * progress.step})
    with pytest.raises(CollapsedError, match=r"collapsed: prototype_entropy is 0\.\d+, below 1\.7;"):
        health(trainee)
    assert len(lacking({"own": float("nan"), "other": 0.3}, {"own": 0.1, "other": 0.3})) == 1


def test_signs_are_of_vectors_alone() -> None:
    """Not of numbers of rows, patches, maps or pixels."""
    outputs: dict[str, Any] = {
        "z": torch.randn(4, 2, 5),
        "one": torch.randn(4, 5),
        "rows": torch.arange(4),
        "patches": torch.randn(4, 9, 5),
        "maps": torch.randn(4, 5, 3, 3),
    }
    signs = signs_of(outputs, views=2)
    assert set(signs) == {"z", "one"}
    assert signs["one"].closeness is None


def test_normalised_by_the_batch_without_being_changed() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.9)).train()
    model[0].eval()
    images: Tensor = 5 + torch.randn(20, 3)
    expected = nn.functional.batch_norm(model[0](images), None, None, training=True)
    before = copy.deepcopy(model.state_dict())
    with batch_statistics(model):
        torch.testing.assert_close(model(images), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model] == [False, True, True]
