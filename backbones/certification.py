"""What a backbone must show before its numbers are believed; every check says what was seen and its bound."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from backbones.base import Backbone, freeze
from backbones.preprocessing import reference_transform
from backbones.reference import Reference
from backbones.specimens import specimens
from backbones.weights import weights_sha256

GREY_LEVELS = 1.5
"""Largest mean difference of a preprocessed image from the library's own, in 1/255 before normalisation."""
BATCH = 1e-3
"""Largest difference a batch may make to an image's features, relative to their root mean square."""
DRIFT = 0.98
"""Least cosine of features in bfloat16 autocast with those in float32, mean over images."""


@dataclass(frozen=True)
class Check:
    """One property. ``passed`` is None where it does not apply, and ``seen`` says why."""

    name: str
    passed: bool | None
    seen: str


def checks(backbone: Backbone, again: Callable[[], Backbone], reference: Reference | None) -> Iterator[Check]:
    """All checks, cheapest first. ``again`` loads the same backbone anew; ``reference`` is its library's own path."""
    freeze(backbone)
    transform = reference_transform(backbone.preprocess)
    images = torch.stack([transform(image) for image in specimens()])
    for check in (_deterministic, _independent_of_batch, _in_evaluation_mode, _drift, _maps):
        with torch.no_grad():
            yield _guarded(check, backbone, images)
    yield _guarded(_same_identity, backbone, again)
    yield _guarded(_gradients, again(), images)
    with torch.no_grad():
        yield from _against(backbone, images, reference)


def _guarded(check: Callable[..., Check], *arguments: object) -> Check:
    try:
        return check(*arguments)
    except NotImplementedError as error:
        return Check(_title(check), None, str(error))
    except Exception as error:  # a check that cannot be run has not been passed
        return Check(_title(check), False, f"{type(error).__name__}: {error}")


def _title(check: Callable[..., Check]) -> str:
    return check.__name__.strip("_").replace("_", " ")


def _deterministic(backbone: Backbone, images: Tensor) -> Check:
    first, second = backbone.embed(images), backbone.embed(images)
    sound = first.ndim == 2 and len(first) == len(images) and bool(first.isfinite().all()) and first.is_floating_point()
    return Check("deterministic", sound and torch.equal(first, second), f"{tuple(first.shape)}, twice the same bits")


def _independent_of_batch(backbone: Backbone, images: Tensor) -> Check:
    together = backbone.embed(images)
    alone = torch.cat([backbone.embed(image[None]) for image in images])
    return _near("independent of batch", alone, together, BATCH)


def _in_evaluation_mode(backbone: Backbone, images: Tensor) -> Check:
    """BatchNorm statistics and every other buffer stay as they are."""
    before = weights_sha256(backbone)
    backbone.embed(images)
    training = [name for name, module in backbone.named_modules() if module.training]
    kept = weights_sha256(backbone) == before
    return Check(
        "in evaluation mode", kept and not training, f"weights kept: {kept}, in training mode: {len(training)}"
    )


def _drift(backbone: Backbone, images: Tensor) -> Check:
    exact = backbone.embed(images).float()
    with torch.autocast(images.device.type, torch.bfloat16):
        rough = backbone.embed(images).float()
    cosine = float(nn.functional.cosine_similarity(exact, rough).mean())
    return Check("bfloat16 drift", cosine >= DRIFT, f"cosine {cosine:.4f}, at least {DRIFT}")


def _maps(backbone: Backbone, images: Tensor) -> Check:
    maps = backbone.feature_maps(images[:1])
    height, width = images.shape[-2:]
    wrong = [
        stride
        for stride, each in maps.items()
        if each.shape[2:] != (math.ceil(height / stride), math.ceil(width / stride)) or not each.isfinite().all()
    ]
    shown = ", ".join(f"{each.shape[1]}@{stride}" for stride, each in maps.items())
    return Check("maps", bool(maps) and not wrong and list(maps) == sorted(maps), f"channels@stride {shown}")


def _same_identity(backbone: Backbone, again: Callable[[], Backbone]) -> Check:
    """Loaded twice, or saved and loaded, it is the same backbone."""
    state = {name: value.clone() for name, value in backbone.state_dict().items()}
    before, other = weights_sha256(backbone), again()
    saved = copy.deepcopy(backbone)
    saved.load_state_dict(state)
    same = other.card == backbone.card and weights_sha256(other) == before == weights_sha256(saved)
    return Check("same identity", same, f"weights_sha256 {backbone.card.weights_sha256[:16]}")


def _gradients(backbone: Backbone, images: Tensor) -> Check:
    layers = backbone.layers()
    if not layers:
        raise NotImplementedError("it has no parameters")
    for parameter in backbone.parameters():
        parameter.requires_grad_(True)
    torch.autograd.backward(backbone.embed(images[:2]).float().square().sum())
    dead = [name for name, group in layers if not any(p.grad is not None and bool(p.grad.any()) for p in group)]
    seen = f"none reaches {', '.join(dead[:3])}" if dead else f"reach all {len(layers)} layers"
    return Check("gradients", not dead, seen)


def _against(backbone: Backbone, images: Tensor, reference: Reference | None) -> Iterator[Check]:
    names = ("preprocessing as upstream", "features as upstream", "maps as upstream")
    if reference is None:
        yield from (Check(name, None, "its source has no library to compare with") for name in names)
        return
    yield _guarded(_preprocessing_as_upstream, backbone, images, reference)
    yield _guarded(_features_as_upstream, backbone, images, reference)
    yield _guarded(_maps_as_upstream, backbone, images, reference)


def _preprocessing_as_upstream(backbone: Backbone, images: Tensor, reference: Reference) -> Check:
    """Resize, crop, channel order, value range, mean and std: all of them show in the tensor."""
    theirs = [reference.transform(image) for image in specimens()]
    if any(each.shape != images.shape[1:] for each in theirs):
        return Check(
            "preprocessing as upstream", False, f"shapes {tuple(theirs[0].shape)}, ours {tuple(images.shape[1:])}"
        )
    std = torch.tensor(backbone.preprocess.std).view(3, 1, 1)
    worst = max(float(((mine - each) * std * 255).abs().mean()) for mine, each in zip(images, theirs, strict=True))
    return Check("preprocessing as upstream", worst <= GREY_LEVELS, f"{worst:.3f} grey levels, at most {GREY_LEVELS}")


def _features_as_upstream(backbone: Backbone, images: Tensor, reference: Reference) -> Check:
    return _near("features as upstream", backbone.embed(images), reference.embed(images), reference.tolerance)


def _maps_as_upstream(backbone: Backbone, images: Tensor, reference: Reference) -> Check:
    if reference.feature_maps is None:
        raise NotImplementedError("its library has no dense output to compare with")
    mine, theirs = backbone.feature_maps(images), reference.feature_maps(images)
    if missing := sorted(set(theirs) - set(mine)):
        return Check("maps as upstream", False, f"strides {missing} are missing")
    results = [_near("maps as upstream", mine[stride], theirs[stride], reference.tolerance) for stride in theirs]
    return min(results, key=lambda result: bool(result.passed))


def _near(name: str, found: Tensor, expected: Tensor, bound: float) -> Check:
    if found.shape != expected.shape:
        return Check(name, False, f"shape {tuple(found.shape)} against {tuple(expected.shape)}")
    scale = float(expected.float().square().mean().sqrt())
    apart = float((found - expected).abs().max()) / (scale or 1.0)
    return Check(name, apart <= bound, f"{apart:.1e} of the root mean square, at most {bound:.0e}")
