"""Distillation: terms in closed form, the teacher's own view of an image, and a student that comes near its teacher."""

import pytest
import torch

from backbones.adapters.pixel_statistics import PixelStatistics
from backbones.base import Preprocess
from backbones.pretraining.methods.distil import Distil, as_seen_by, dense_loss, summary_loss
from tests.pretraining_fakes import random_batch, tiny_method, updated

TEACHER = "random:timm:test_resnet"


def test_the_summary_is_about_directions() -> None:
    teacher = torch.randn(4, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(summary_loss(3 * teacher, teacher)) == pytest.approx(0, abs=1e-12)
    assert float(summary_loss(-teacher, teacher)) == pytest.approx(2, abs=1e-12)


def test_maps_are_compared_at_the_smaller_size_in_the_teachers_unit() -> None:
    teacher = torch.randn(2, 5, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fine = teacher.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert float(dense_loss(fine, teacher)) == pytest.approx(0, abs=1e-12)
    apart = teacher + 0.5 * teacher.std()
    cosine = 1 - torch.cosine_similarity(apart, teacher, dim=1).mean()
    assert float(dense_loss(apart, teacher)) == pytest.approx(float(0.9 * cosine + 0.1 * 0.125), abs=1e-9)
    assert float(dense_loss(1e4 * apart, 1e4 * teacher)) == pytest.approx(float(dense_loss(apart, teacher)), abs=1e-9)


def test_the_teacher_sees_the_view_as_its_own_preprocessing_makes_it() -> None:
    mine = Preprocess((8, 8), 8, "center", "bilinear", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    theirs = Preprocess((8, 8), 8, "center", "bilinear", (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    pixels = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (mine.mean, mine.std))
    seen = as_seen_by((pixels - mean) / std, mine, theirs)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (theirs.mean, theirs.std))
    assert torch.allclose(seen, (pixels - mean) / std, atol=1e-6)
    larger = Preprocess((16, 16), 16, "center", "bilinear", theirs.mean, theirs.std)
    assert as_seen_by(pixels, mine, larger).shape == (2, 3, 16, 16)


@pytest.mark.parametrize("kind", ["cnn", "vit"])
@pytest.mark.parametrize("dense", [0.0, 1.0])
def test_a_student_comes_nearer(kind: str, dense: float) -> None:
    method = tiny_method(Distil(teacher=TEACHER, dense=dense), kind)
    losses = [updated(method, random_batch(sizes=(32,)), rate=0.2) for _ in range(8)]
    assert losses[-1] < 0.9 * losses[0]


def test_the_teacher_is_no_part_of_a_checkpoint_but_of_the_identity() -> None:
    method = tiny_method(Distil(teacher=TEACHER))
    assert sum(value.numel() for value in method.state_dict().values()) < 100_000
    assert method.facts() != tiny_method(Distil(teacher=f"{TEACHER}@1")).facts()
    before = [value.clone() for value in method._teacher[0].state_dict().values()]  # type: ignore[attr-defined]
    updated(method, random_batch(sizes=(32,)))
    after = method._teacher[0].state_dict().values()  # type: ignore[attr-defined]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(PixelStatistics, "feature_maps", none)
    with pytest.raises(ValueError, match="summary and dense are both 0"):
        tiny_method(Distil(teacher=TEACHER, summary=0))
    with pytest.raises(ValueError, match="pixels has none"):
        tiny_method(Distil(teacher="pixels", dense=1))
    with pytest.raises(ValueError, match="unknown"):
        tiny_method(Distil(teacher="timm:nonesuch"))
