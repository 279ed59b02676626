"""LeJEPA: SIGReg in closed form, against a loop and lightly's, and agreement with the global views' mean."""

import cmath
import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from backbones.pretraining.losses.sigreg import epps_pulley, sigreg, slices
from backbones.pretraining.method import Progress
from backbones.pretraining.methods.lejepa import LeJEPA
from backbones.pretraining.views.settings import ViewGroup
from tests.pretraining_fakes import PROGRESS, random_batch, tiny_method


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def directions(dim: int, count: int = 64) -> Tensor:
    return slices(dim, count, 0).double()


@pytest.mark.parametrize("count", [256, 1024, 4096])
def test_gaussian_vectors_cost_about_one_whatever_their_number(count: int) -> None:
    """The integral of (1 - exp(-t^2)) exp(-t^2 / 2) over -3..3 is 1.05; here the mean of 200 independent samples."""
    found = float(sigreg(gaussian(count, 200), torch.eye(200, dtype=torch.float64)))
    assert found == pytest.approx(1.05, abs=0.2)


@pytest.mark.parametrize(("count", "expected"), [(256, 103), (1024, 412), (4096, 1647)])
def test_collapsed_vectors_cost_in_proportion_to_their_number(count: int, expected: int) -> None:
    zeros = torch.zeros(count, 16, dtype=torch.float64)
    assert float(sigreg(zeros, directions(16))) == pytest.approx(expected, abs=0.5)


def test_vectors_on_a_line_cost_much() -> None:
    line = gaussian(1024, 1) * torch.full((16,), 1.0, dtype=torch.float64)  # its norm is sqrt(16), as a Gaussian's
    assert float(sigreg(line, directions(16))) > 20


def test_against_a_loop() -> None:
    samples = 2 * gaussian(7, 3) + 1
    for column, found in zip(samples.T, epps_pulley(samples), strict=True):
        values = []
        for knot in range(-16, 17):
            t = knot * 3 / 16
            empirical = sum(cmath.exp(1j * t * float(x)) for x in column) / 7
            values.append(abs(empirical - math.exp(-(t**2) / 2)) ** 2 * math.exp(-(t**2) / 2))
        integral = sum((a + b) / 2 * 3 / 16 for a, b in pairwise(values))
        assert float(found) == pytest.approx(7 * integral, rel=1e-10)


def test_equals_lightlys() -> None:
    theirs = pytest.importorskip("lightly.loss.lejepa_loss").SIGReg(num_vectors=32)
    z = gaussian(2, 20, 8).float()
    torch.manual_seed(3)
    expected = float(theirs(z))
    torch.manual_seed(3)
    drawn = torch.randn(8, 32)
    assert float(sigreg(z, drawn / drawn.norm(dim=0))) == pytest.approx(expected, rel=1e-4)


def test_directions_are_unit_vectors_of_the_seed_alone() -> None:
    torch.manual_seed(0)
    first = slices(8, 5, 3)
    torch.manual_seed(1)
    assert torch.equal(slices(8, 5, 3), first)
    assert not torch.equal(slices(8, 5, 4), first)
    torch.testing.assert_close(first.norm(dim=0), torch.ones(5))


def test_directions_change_from_step_to_step_only() -> None:
    method = tiny_method(LeJEPA(views=(ViewGroup(count=2),), projector=(32, 8), slices=4), "vit").eval()
    with torch.no_grad():
        outputs = method.represent(random_batch())
        first, again, next_step = (float(method.loss(outputs, Progress(step, 40, 8))) for step in (3, 3, 4))
    assert first == again != next_step


def test_views_are_drawn_to_the_mean_of_the_first_groups() -> None:
    settings = LeJEPA(views=(ViewGroup(count=2), ViewGroup(size=16)), projector=(32, 8), regularisation=0)
    z = gaussian(5, 3, 8)
    expected = 0.0
    for image in z:
        mean = (image[0] + image[1]) / 2
        expected += sum(float((view - mean).square().sum()) for view in image) / (5 * 3 * 8)
    assert float(tiny_method(settings, "vit").loss({"z": z}, PROGRESS)) == pytest.approx(expected, rel=1e-10)


def test_lambda_weighs_the_two_terms() -> None:
    z = gaussian(5, 2, 8)
    losses = [float(tiny_method(_two_views(weight), "vit").loss({"z": z}, PROGRESS)) for weight in (0.0, 1.0, 0.25)]
    assert losses[2] == pytest.approx(0.75 * losses[0] + 0.25 * losses[1], rel=1e-10)


def _two_views(weight: float) -> LeJEPA:
    return LeJEPA(views=(ViewGroup(count=2),), projector=(32, 8), regularisation=weight, slices=16)


def test_small_views_go_along() -> None:
    settings = LeJEPA(views=(ViewGroup(count=2), ViewGroup(count=3, size=16)), projector=(32, 8), slices=16)
    outputs = tiny_method(settings, "vit").represent(random_batch(sizes=(32, 32, 16, 16, 16)))
    assert outputs["z"].shape == (8, 5, 8)


def test_a_single_view_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 views"):
        tiny_method(LeJEPA(views=(ViewGroup(),)))
