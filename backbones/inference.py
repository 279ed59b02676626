"""A frozen backbone made ready to run fast: memory layout and BatchNorm folded away, where outputs stay the same."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_weights

from backbones.base import Backbone, Classifier, Readable, freeze

Layer = str
"""What is taken of a backbone: ``pooled`` (``embed``), ``logits`` (``classify``), ``dense``, ``gem``, or a readout.

``dense`` is the deepest of its feature maps (that of the largest stride), flattened: channel by channel of the first
cell, then of the next in its row. :func:`dense_shape` says how to cut it. ``gem`` is the same map by :func:`gem`.
"""
GEM = "gem"
Call = Callable[[Tensor], Tensor]

SAME_OUTPUT = 1e-4
"""Largest difference folding may make to an output in float32, relative to the outputs' root mean square."""


@dataclass(frozen=True)
class Frozen:
    """A backbone nothing changes any more, what is taken of it, and the memory format its input goes in."""

    backbone: Backbone
    layer: Layer
    memory_format: torch.memory_format
    folded: bool

    @property
    def call(self) -> Call:
        """Preprocessed images to features."""
        return call_of(self.backbone, self.layer)


def call_of(backbone: Backbone, layer: Layer) -> Call:
    """The method that answers for a layer.

    Raises ``TypeError`` for logits of a backbone without a head, ``ValueError`` for a readout it does not have.
    """
    if layer == "pooled":
        return backbone.embed
    if layer == "logits":
        if not isinstance(backbone, Classifier):
            raise TypeError(
                f"{backbone.card.name} has no classifier head of its own, so there are no logits to extract"
            )
        return backbone.classify
    if layer == "dense":
        return partial(_dense, backbone)
    if layer == GEM:
        return lambda images: gem(_deepest(backbone, images))
    readouts = backbone.readouts if isinstance(backbone, Readable) else ()
    if layer not in readouts or not isinstance(backbone, Readable):
        raise ValueError(
            f"{backbone.card.name} has no readout {layer!r}; there are: {', '.join(('pooled', *readouts))}"
        )
    return partial(backbone.read, readout=layer)


def _dense(backbone: Backbone, images: Tensor) -> Tensor:
    return _deepest(backbone, images).flatten(2).transpose(1, 2).flatten(1)


def _deepest(backbone: Backbone, images: Tensor) -> Tensor:
    maps = backbone.feature_maps(images)
    return maps[max(maps)]


def gem(
    maps: Float[Tensor, "batch channels map_height map_width"], power: float = 3.0
) -> Float[Tensor, "batch channels"]:
    """Generalised mean of each channel over the map, (mean of x^power)^(1/power) (Radenovic et al. 2018).

    Negative numbers count as zero: the paper's maps come out of a ReLU. The largest is taken out, so nothing overflows.

    >>> gem(torch.tensor([[[[2.0, 2.0], [0.0, -5.0]]]]), power=1.0)
    tensor([[1.]])
    """
    positive = maps.clamp(min=0)
    largest = positive.amax((2, 3), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)
    return (positive / largest).pow(power).mean((2, 3)).pow(1 / power) * largest[:, :, 0, 0]


def dense_shape(backbone: Backbone) -> tuple[int, int]:
    """(cells, channels) of the ``dense`` layer, found out with one blank image.

    Raises ``NotImplementedError`` naming the backbone where it has no maps.
    """
    freeze(backbone)
    device = next((parameter.device for parameter in backbone.parameters()), torch.device("cpu"))
    with torch.inference_mode():
        deepest = _deepest(backbone, torch.zeros(1, 3, *backbone.preprocess.size, device=device))
    return deepest.shape[2] * deepest.shape[3], deepest.shape[1]


def arrange(backbone: Backbone, layer: Layer, sample: Float[Tensor, "batch 3 height width"]) -> Frozen:
    """Freeze the backbone; run it channels-last and with BatchNorm folded if, on ``sample``, nothing changes.

    Folding happens in a copy: the backbone's own weights and buffers are left as they are. The first call is on the
    backbone as it is, so an error of its own shows unchanged.
    """
    freeze(backbone)
    with torch.inference_mode():
        expected = call_of(backbone, layer)(sample)
    plain = Frozen(backbone, layer, torch.contiguous_format, False)
    if not isinstance(expected, Tensor) or not any(isinstance(module, nn.Conv2d) for module in backbone.modules()):
        return plain
    try:
        folded = _folded(backbone, layer, sample)
        fast = Frozen(folded or backbone, layer, torch.channels_last, folded is not None)
        (folded or backbone).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            found = fast.call(sample.to(memory_format=torch.channels_last))
        return fast if is_same(found, expected) else plain
    except Exception:  # a module that cannot be copied, or that calls .view() on its input: run it as it is
        return plain


def is_same(found: Tensor, expected: Tensor) -> bool:
    """Whether two outputs differ by no more than :data:`SAME_OUTPUT`."""
    if found.shape != expected.shape:
        return False
    scale = expected.float().square().mean().sqrt()
    return bool((found - expected).float().abs().max() <= SAME_OUTPUT * scale)


def _folded(backbone: Backbone, layer: Layer, sample: Tensor) -> Backbone | None:
    pairs = _pairs(backbone, layer, sample)
    if not pairs:
        return None
    folded = copy.deepcopy(backbone)
    with torch.no_grad():
        for convolution_name, norm_name in pairs:
            convolution, norm = folded.get_submodule(convolution_name), folded.get_submodule(norm_name)
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            convolution.weight, convolution.bias = fuse_conv_bn_weights(
                convolution.weight,
                convolution.bias,
                norm.running_mean,
                norm.running_var,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            folded.set_submodule(norm_name, _rest(norm))
    return folded


def _rest(norm: nn.BatchNorm2d) -> nn.Module:
    """What a BatchNorm layer does besides normalising: timm's kind has children, dropout and activation."""
    return nn.Sequential(*(child for _, child in norm.named_children()))


def _is_timm_norm(module: nn.Module) -> bool:
    return type(module).__name__ == "BatchNormAct2d" and type(module).__module__.startswith("timm.")


def _pairs(backbone: Backbone, layer: Layer, sample: Tensor) -> list[tuple[str, str]]:
    """(convolution, norm) names where the norm's input was the convolution's output, each run exactly once."""
    producer: dict[int, str] = {}
    kept: list[Tensor] = []  # alive until the end, so that an id is not used twice
    runs: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []

    def watch(name: str, module: nn.Module) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            runs[name] = runs.get(name, 0) + 1
            if isinstance(module, nn.Conv2d):
                producer[id(output)] = name
                kept.append(output)
            elif id(inputs[0]) in producer:
                pairs.append((producer[id(inputs[0])], name))

        return hook

    hooks = [
        module.register_forward_hook(watch(name, module))
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Conv2d) or _is_foldable(module)
    ]
    try:
        with torch.inference_mode():
            call_of(backbone, layer)(sample)
    finally:
        for registered in hooks:
            registered.remove()
    return [pair for pair in pairs if all(runs[name] == 1 for name in pair)]


def _is_foldable(module: nn.Module) -> bool:
    plain = type(module) is nn.BatchNorm2d or _is_timm_norm(module)
    return plain and isinstance(module, nn.BatchNorm2d) and module.running_mean is not None
