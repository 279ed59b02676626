"""BYOL: the loss in closed form and against lightly's, and the teacher."""

import pytest
import torch

from backbones.pretraining.losses.negative_cosine import negative_cosine
from backbones.pretraining.method import Method, Progress
from backbones.pretraining.methods.byol import BYOL
from backbones.pretraining.parts.teacher import Teacher
from tests.pretraining_fakes import PROGRESS, random_batch, tiny_method, updated

TINY = BYOL(projector=(32, 16), predictor=32, momentum=0.9)


def teacher_of(method: Method) -> Teacher:
    return next(each for each in method.modules() if isinstance(each, Teacher))


def weights_of(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_negative_cosine_in_closed_form() -> None:
    predictions = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]], dtype=torch.float64)
    targets = torch.tensor([[5.0, 0.0], [7.0, 0.0], [-1.0, -1.0]], dtype=torch.float64)
    assert float(negative_cosine(predictions[:1], targets[:1])) == pytest.approx(-1, abs=1e-12)
    assert float(negative_cosine(predictions[1:2], targets[1:2])) == pytest.approx(0, abs=1e-12)
    assert float(negative_cosine(predictions, targets)) == pytest.approx((-1 + 0 + 1) / 3, abs=1e-12)


def test_negative_cosine_equals_lightlys() -> None:
    loss = pytest.importorskip("lightly.loss").NegativeCosineSimilarity()
    first, second = torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(1))
    assert float(negative_cosine(first, second)) == pytest.approx(float(loss(first, second)), abs=1e-6)


def test_the_loss_is_both_directions_sum() -> None:
    method = tiny_method(TINY, "vit")
    p, t = torch.randn(2, 5, 2, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = 0.0
    for image in range(5):
        for mine, other in ((0, 1), (1, 0)):
            a, b = p[image, mine], t[image, other]
            expected += float(((a / a.norm() - b / b.norm()) ** 2).sum()) / 5
    assert float(method.loss({"p": p, "t": t}, PROGRESS)) == pytest.approx(expected, abs=1e-12)


def test_no_gradient_reaches_the_teacher() -> None:
    method = tiny_method(TINY)
    outputs = method.represent(random_batch())
    assert not outputs["t"].requires_grad
    method.loss(outputs, PROGRESS).backward()
    assert all(parameter.grad is None for parameter in teacher_of(method).parameters())


def test_the_teacher_begins_as_the_student_and_follows_it() -> None:
    """theta = m^n theta_0 + (1 - m^n) theta_s for a student that stays and a momentum that does."""
    method, start = tiny_method(TINY).double(), Progress(0, 10**9, 1)
    before = weights_of(teacher_of(method))
    with torch.no_grad():
        for parameter in (*method.encoder.parameters(), *method.get_submodule("projector").parameters()):
            parameter += 1
    student = before + 1
    for _ in range(5):
        method.after_update(start)
    expected = 0.9**5 * before + (1 - 0.9**5) * student
    torch.testing.assert_close(weights_of(teacher_of(method)), expected, rtol=0, atol=1e-9)


def test_the_last_step_leaves_the_teacher() -> None:
    method = tiny_method(TINY)
    before = weights_of(teacher_of(method))
    updated(method, random_batch(progress=Progress(39, 40, 8)))
    assert torch.equal(weights_of(teacher_of(method)), before)
    updated(method, random_batch(progress=Progress(38, 40, 8)))
    assert not torch.equal(weights_of(teacher_of(method)), before)


def test_the_teacher_has_batch_statistics_of_its_own() -> None:
    method = tiny_method(TINY)
    names = [name for name, _ in method.named_buffers() if name.endswith("running_mean")]
    before = {name: method.get_buffer(name).clone() for name in names}
    updated(method, random_batch())
    assert all(not torch.equal(method.get_buffer(name), before[name]) for name in names if "teacher" in name)


def test_the_student_is_published() -> None:
    method = tiny_method(TINY)
    assert method.published() is method.encoder.backbone
