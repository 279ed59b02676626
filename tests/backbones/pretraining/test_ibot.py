"""iBOT: the whole method by a loop, what masks hide and mark, and how they are drawn."""

import pytest
import torch
from torch import Tensor

from backbones.pretraining.catalogue import presets
from backbones.pretraining.encoder import TokenEncoder, Tokens
from backbones.pretraining.method import Method
from backbones.pretraining.methods.ibot import IBOT
from backbones.pretraining.parts.masked_views import drawn_masks, seen
from backbones.pretraining.views.settings import ViewGroup
from tests.pretraining_fakes import in_double, random_batch, tiny_encoder, tiny_method

VIEWS, SIZES = (ViewGroup(count=2), ViewGroup(count=2, size=16)), (32, 32, 16, 16)
SMALL = {"views": VIEWS, "outputs": 12, "hidden": 16, "bottleneck": 8}
GRID, PATCHES = (4, 4), 16


def _tokens(method: Method, name: str, images: Tensor, mask: Tensor | None = None) -> Tokens:
    encoder = method.encoder if name == "student" else method.get_submodule("teacher.copy")
    assert isinstance(encoder, TokenEncoder)
    if mask is None:
        return encoder.tokens(images[None])
    return encoder.tokens(images[None], replaced=mask[None], replacement=method.get_parameter("mask_token"))


def _distributions(method: Method, name: str, target: str, tokens: Tensor, cold: float) -> Tensor:
    """Distributions of a teacher, or logarithms of a student's, of rows of tokens."""
    if name == "student":
        return (method.get_submodule("heads.0")(tokens) / 0.1).log_softmax(-1)
    logits = method.get_submodule("teacher_heads.copy.0")(tokens)
    return ((logits - method.get_buffer(f"targets.{target}.mean")) / cold).softmax(-1)


@torch.no_grad()
def test_the_whole_method_against_a_loop() -> None:
    method, batch = in_double(tiny_method(IBOT(**SMALL), "vit"), random_batch(4, SIZES))
    method.get_parameter("mask_token").normal_()
    method.get_parameter("teacher_heads.copy.0.last.weight").normal_()
    for buffer in ("targets.0.mean", "targets.1.mean"):
        method.get_buffer(buffer).normal_()
    cold = IBOT().teacher_temperature_at(batch.progress)
    torch.manual_seed(3)
    masks = drawn_masks(8, GRID, 0.5, (0.1, 0.5)).view(4, 2, PATCHES)
    assert 0 < int((masks.sum(2) > 0).sum()) < 8
    of_classes, of_patches = 0.0, 0.0
    for image in range(4):
        pictures = [view.images[image] for view in batch.views]
        mine = [
            _tokens(method, "student", picture, masks[image, view] if view < 2 else None)
            for view, picture in enumerate(pictures)
        ]
        for view in range(2):
            theirs = _tokens(method, "teacher", pictures[view])
            target = _distributions(method, "teacher", "0", theirs.prefix[:, 0], cold)
            for by, other in enumerate(mine):
                if by != view:
                    answer = _distributions(method, "student", "0", other.prefix[:, 0], cold)
                    of_classes -= float((target * answer).sum()) / (4 * 2 * 3)
            masked = masks[image, view]
            target = _distributions(method, "teacher", "1", theirs.patches[0, masked], cold)
            answer = _distributions(method, "student", "1", mine[view].patches[0, masked], cold)
            for number in range(len(target)):
                of_patches -= float((target[number] * answer[number]).sum()) / len(target) / (4 * 2)
    torch.manual_seed(3)
    loss = method.loss(method.represent(batch), batch.progress)
    assert float(loss) == pytest.approx(of_classes + of_patches, abs=1e-9)


def test_patches_that_are_not_masked_have_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch, answers = tiny_method(IBOT(**SMALL), "vit"), random_batch(4, SIZES), []
    whole = TokenEncoder.tokens

    def recorded(self: TokenEncoder, *arguments: object, **options: object) -> Tokens:
        answer = whole(self, *arguments, **options)
        if options.get("replacement") is not None:
            answer.patches.retain_grad()
            answers.append((options["replaced"], answer.patches))
        return answer

    monkeypatch.setattr(TokenEncoder, "tokens", recorded)
    torch.manual_seed(3)
    method.represent(batch)["of_patches"].sum().backward()
    ((masks, patches),) = answers
    assert masks.any()
    assert patches.grad[~masks].abs().max() == 0
    assert patches.grad[masks].abs().amax(1).min() > 0


def test_masked_pixels_are_hidden_from_the_student_alone() -> None:
    encoder = tiny_encoder("vit")
    assert isinstance(encoder, TokenEncoder)
    batch, token = random_batch(3), torch.randn(encoder.width, generator=torch.Generator().manual_seed(1))
    masks = drawn_masks(6, GRID, 1.0, (0.3, 0.5)).view(3, 2, PATCHES)
    changed = []
    for number, view in enumerate(batch.views):
        pixels = masks[:, number].view(3, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
        changed.append(view._replace(images=view.images + 5 * pixels))
    hidden, other = (seen(encoder, views, masks, token) for views in (batch.views, changed))
    assert torch.equal(hidden.vectors, other.vectors)
    assert torch.equal(hidden.patches, other.patches)
    whole, other = (seen(encoder, views, masks) for views in (batch.views, changed))
    assert (whole.vectors - other.vectors).abs().max() > 1e-3


def test_masks_are_drawn_as_set() -> None:
    torch.manual_seed(0)
    shares = drawn_masks(4000, (10, 10), 0.5, (0.1, 0.5)).double().mean(1)
    masked = shares[shares > 0]
    assert len(masked) / 4000 == pytest.approx(0.5, abs=0.04)
    assert (float(masked.min()), float(masked.max())) == (0.1, 0.49)
    assert float(masked.mean()) == pytest.approx(0.295, abs=0.01)
    assert not drawn_masks(8, (10, 10), 0.0, (0.1, 0.5)).any()
    assert drawn_masks(8, (10, 10), 1.0, (1.0, 1.0)).all()


def test_the_generator_of_a_micro_batch_decides() -> None:
    method, batch = tiny_method(IBOT(**SMALL), "vit"), random_batch(4, SIZES)
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(float(method.represent(batch)["of_patches"].sum().detach()))
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("preset", sorted(presets("ibot")))
def test_presets_take_the_views_they_make(preset: str) -> None:
    found = presets("ibot")[preset]
    assert sum(group.count for group in found.settings.views) == (12 if preset == "imagenet" else 2)
    assert "not run here" in found.source
