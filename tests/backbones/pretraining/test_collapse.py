"""What keeps vectors apart is needed: without it they collapse, in the same steps in which the method does not.

Deviations of (the encoder's vectors, z) measured with seeds 0, 1, 2 stand beside the limits, which lie between.
"""

import pytest

from backbones.pretraining.health.collapse import lacking
from backbones.pretraining.methods.simsiam import SimSiam
from tests.pretraining_fakes import tiny_method
from tests.pretraining_twins import TwinSimSiam, TwinVICReg, deviations, trained, trained_dino

DINO_SEEDS = [pytest.param(2), pytest.param(1, marks=pytest.mark.slow)]


def test_simsiam_needs_predictor_and_stop_gradient() -> None:
    guarded, collapsed = TwinSimSiam(guarded=True), TwinSimSiam()
    assert deviations(trained(tiny_method(guarded, "vit"), 30, 0.5))[1] > 0.5  # 0.70, 0.77, 0.80
    assert deviations(trained(tiny_method(collapsed, "vit"), 30, 0.5))[1] < 0.4  # 0.29, 0.28, 0.25


def test_without_batch_norm_the_encoder_collapses_too() -> None:
    whole = SimSiam(projector=(32, 32, 32), predictor=8)
    encoder, z = deviations(trained(tiny_method(whole, "vit"), 20, 0.5))
    assert (encoder > 0.1, z > 0.5) == (True, True)  # (0.16, 0.92), (0.19, 0.97), (0.14, 0.94)
    encoder, z = deviations(trained(tiny_method(TwinSimSiam(head_norm=False), "vit"), 20, 0.5))
    assert max(encoder, z) < 0.05  # (0.019, 0.007), (0.011, 0.004), (0.010, 0.006)


def test_vicreg_needs_its_variance() -> None:
    encoder, z = deviations(trained(tiny_method(TwinVICReg(), "vit"), 30, 0.02))
    assert min(encoder, z) > 0.25  # (0.47, 0.75), (0.50, 0.45), (0.37, 0.36)
    encoder, z = deviations(trained(tiny_method(TwinVICReg(variance=0), "vit"), 30, 0.02))
    assert (encoder < 0.2, z < 0.1) == (True, True)  # (0.115, 0.032), (0.115, 0.045), (0.128, 0.035)


@pytest.mark.parametrize("seed", DINO_SEEDS)
@pytest.mark.parametrize(
    ("centre_momentum", "teacher_temperature", "collapses"),
    [
        pytest.param(0.9, 0.04, False, id="sound"),
        pytest.param(1.0, 0.04, True, id="without a centre"),
        pytest.param(0.9, 0.1, True, id="without sharpening"),
    ],
)
def test_dino_names_what_must_not_vanish(
    centre_momentum: float, teacher_temperature: float, collapses: bool, seed: int
) -> None:
    """The encoder's vectors do not show it: an alarm sees it by the least that the method names."""
    method, batch = trained_dino(centre_momentum, teacher_temperature, seed)
    findings = lacking(method.health(batch), method.least(batch.progress))
    assert [finding.split()[0] for finding in findings] == ["teacher_information"] * collapses
