"""Mean Teacher: the teacher is the average it should be, learns from no gradient, and is what is tested."""

import math

import pytest
import torch

from backbones.pretraining.method import Progress
from tasks.classification.semi_supervised.consistency import consistency
from tasks.classification.semi_supervised.methods.mean_teacher import MeanTeacher
from tasks.classification.semi_supervised.methods.supervised import Supervised
from tests.semi_supervised_fakes import Bent, noise_batch


def at(step: int, total: int = 4000) -> Progress:
    return Progress(step, total, 100)


def test_the_teacher_is_the_mean_of_all_steps_at_first_and_then_an_exponential_average() -> None:
    settings = MeanTeacher(early_decay=0.8, decay=0.9, ramp_up=0.5)
    method = settings.build(network := Bent())
    seen, expected = [], torch.zeros(2, 3)
    generator = torch.Generator().manual_seed(0)
    for step in range(20):
        with torch.no_grad():
            network.weight.copy_(torch.randn(2, 3, generator=generator))
        method.after_update(at(step, total=20))
        seen.append(network.weight.detach().clone())
        decay = min(step / (step + 1), 0.8 if step < 10 else 0.9)
        expected = decay * expected + (1 - decay) * seen[-1]
        torch.testing.assert_close(method.teacher.copy.weight, expected)
        if step < 5:
            torch.testing.assert_close(method.teacher.copy.weight, torch.stack(seen).mean(0))


def test_the_weight_ramps_up_as_a_sigmoid() -> None:
    settings = MeanTeacher(weight=8.0, ramp_up=0.25)
    values = [settings.weight_at(at(step)) for step in (0, 500, 1000, 3999)]
    assert values == pytest.approx([8 * math.exp(-5), 8 * math.exp(-1.25), 8.0, 8.0])
    assert MeanTeacher(weight=8.0, ramp_up=0.0).weight_at(at(0)) == 8.0
    assert [settings.decay_at(at(step)) for step in (0, 1, 999, 1000, 3999)] == [0.0, 0.5, 0.99, 0.999, 0.999]


def test_the_loss_pulls_the_student_to_the_teacher_and_never_the_teacher() -> None:
    settings = MeanTeacher(ramp_up=0.0)
    method, network = settings.build(network := Bent()), network
    with torch.no_grad():
        method.teacher.copy.weight.add_(0.3)
    batch = noise_batch(settings)
    loss = method.loss(batch)
    mine, theirs = batch.unlabelled
    between = consistency(network(mine), method.teacher.copy(theirs))
    alone = torch.nn.functional.cross_entropy(network(batch.labelled), batch.labels)
    assert float(loss.detach()) == pytest.approx(float((alone + 8 * between).detach()), abs=1e-5)
    loss.backward()
    assert method.teacher.copy.weight.grad is None
    plain = Supervised().build(other := Bent())
    plain.loss(noise_batch(Supervised())).backward()
    assert not torch.allclose(network.weight.grad, other.weight.grad, atol=1e-3)


def test_without_weight_the_student_learns_as_the_supervised_do_and_the_teacher_is_tested() -> None:
    gradients = []
    for settings in (MeanTeacher(weight=0.0), Supervised()):
        method = settings.build(network := Bent())
        method.loss(noise_batch(settings)).backward()
        gradients.append(network.weight.grad)
    torch.testing.assert_close(*gradients)
    method = MeanTeacher().build(network)
    assert method.judged is method.teacher
