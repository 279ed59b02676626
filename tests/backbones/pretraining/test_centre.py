"""A teacher's targets: the centre in closed form, over micro-batches and undone steps; the balance over devices."""

import pytest
import torch
from torch import Tensor

from backbones.pretraining.parts.balance import Balance
from backbones.pretraining.parts.centre import Centre
from backbones.pretraining.parts.sinkhorn import sinkhorn
from backbones.training.buffers import KeptBuffers


def _logits(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_of_a_constant_output_in_closed_form() -> None:
    centre, output = Centre(5, 0.9).double(), _logits(5)
    for number in range(1, 8):
        centre(output.expand(4, 2, 5), 0.1)
        centre.update()
        assert torch.allclose(centre.mean, (1 - 0.9**number) * output, atol=1e-12)


def test_what_the_centre_alone_cancels_is_uniform() -> None:
    centre, output = Centre(5, 0.0).double(), _logits(5)
    centre(output.expand(3, 5), 0.04)
    centre.update()
    assert torch.allclose(centre(output.expand(3, 5), 0.04), torch.full((3, 5), 0.2, dtype=torch.float64))


def test_distributions_are_of_the_centre_before_the_step() -> None:
    centre, outputs = Centre(5, 0.9).double(), _logits(4, 2, 5)
    centre.mean.copy_(_logits(5, seed=1))
    expected = ((outputs - _logits(5, seed=1)) / 0.07).softmax(-1)
    assert torch.allclose(centre(outputs, 0.07), expected, atol=1e-12)


def test_micro_batches_of_any_size_make_the_same_centre() -> None:
    outputs = _logits(10, 2, 5)
    whole, parts = Centre(5, 0.9).double(), Centre(5, 0.9).double()
    for _ in range(2):
        whole(outputs, 0.1)
        for part in outputs.split([6, 3, 1]):
            parts(part, 0.1)
        whole.update()
        parts.update()
        assert torch.allclose(whole.mean, parts.mean, atol=1e-12)
    assert torch.allclose(whole.mean, (1 - 0.9**2) * outputs.mean((0, 1)), atol=1e-12)


def test_a_step_that_saw_nothing_leaves_it() -> None:
    centre = Centre(5, 0.9).double()
    centre.mean.copy_(_logits(5))
    centre(torch.zeros(0, 5, dtype=torch.float64), 0.1)
    centre.update()
    assert torch.equal(centre.mean, _logits(5))


def test_evaluation_is_not_seen() -> None:
    centre = Centre(5, 0.9).double().eval()
    centre(_logits(4, 5), 0.1)
    centre.update()
    assert not centre.mean.any()


def test_a_step_undone_is_forgotten() -> None:
    centre = Centre(5, 0.9).double()
    kept = KeptBuffers(centre)
    kept.keep()
    centre(_logits(4, 5), 0.1)
    kept.restore()
    centre(_logits(6, 5, seed=1), 0.1)
    centre.update()
    assert torch.allclose(centre.mean, 0.1 * _logits(6, 5, seed=1).mean(0), atol=1e-12)


def test_it_is_of_what_all_devices_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, centres = _logits(10, 5), [Centre(5, 0.9).double() for _ in range(2)]
    for centre, share in zip(centres, outputs.split([6, 4]), strict=True):
        centre(share, 0.1)
    other = torch.cat([centres[1].total, centres[1].count]).unsqueeze(0)
    monkeypatch.setattr("backbones.pretraining.parts.centre.gathered", lambda mine: torch.cat([mine, other]))
    centres[0].update()
    assert torch.allclose(centres[0].mean, 0.1 * outputs.mean(0), atol=1e-12)


def test_a_balance_is_sinkhorns_of_all_rows() -> None:
    outputs = _logits(4, 2, 5)
    found = Balance()(outputs, 0.5)
    assert torch.allclose(found.flatten(0, 1), sinkhorn(outputs.flatten(0, 1), 0.5, 3), atol=1e-12)
    assert torch.allclose(found.sum(-1), torch.ones(4, 2, dtype=torch.float64))


def test_a_balance_uses_outputs_more_evenly() -> None:
    outputs = _logits(64, 8) + torch.linspace(0, 3, 8, dtype=torch.float64)
    plain, balanced = (outputs / 0.5).softmax(-1).mean(0), Balance()(outputs, 0.5).mean(0)
    assert float((balanced - 1 / 8).abs().max()) < 0.1 * float((plain - 1 / 8).abs().max())


def test_a_share_is_balanced_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two devices, of which the other has other and fewer rows: their columns' masses are brought together."""
    outputs = _logits(9, 5)
    shares, whole, sums = outputs.split([6, 3]), sinkhorn(outputs, 0.5, 3), []
    logs = outputs / 0.5
    for _ in range(3):
        sums.append([share.logsumexp(0, keepdim=True) for share in logs.split([6, 3])])
        logs = (logs - logs.logsumexp(0, keepdim=True)).log_softmax(1)
    others = (each[1] for each in sums)
    place = "backbones.pretraining.parts.sinkhorn.gathered"
    monkeypatch.setattr(place, lambda mine: torch.cat([mine, next(others)]))
    assert torch.allclose(sinkhorn(shares[0], 0.5, 3, shared=True), whole[:6], atol=1e-12)
