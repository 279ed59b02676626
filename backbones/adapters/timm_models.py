"""Any pretrained model of timm: ``timm:resnet50.a1_in1k`` (a name with its weights' tag)."""

import json
import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import huggingface_hub
import timm
from jaxtyping import Float
from timm.data.config import resolve_model_data_config
from timm.models import group_parameters
from torch import Tensor, nn

from backbones.adapters import timm_readouts
from backbones.adapters.hub import no_long_wait
from backbones.adapters.imagenet import wordnet_ids
from backbones.adapters.library import Library
from backbones.adapters.maps import fit_to_stride, pad_to, whole_patches
from backbones.adapters.timm_tags import describe
from backbones.base import Backbone, Card, Preprocess
from backbones.places import Places
from backbones.plugins import unknown
from backbones.weights import weights_sha256

SOURCE = f"timm {timm.__version__}"


STAGED = {
    "stem": r"^stem",
    "blocks": [(r"^stages\.(\d+)\.downsample", (0,)), (r"^stages\.(\d+)\.blocks\.(\d+)", None)],
}
"""The order of depth of a model that timm gives none (MetaFormers): of stages of blocks, each begun by downsampling."""

ANY_SIZE = ["vision_transformer", "deit", "eva", "swin_transformer", "swin_transformer_v2"]
"""timm's modules of transformers that take images of any size where they are asked to."""


class TimmBackbone(Backbone):
    """A timm model; its embedding is what timm hands its classifier (``forward_head(..., pre_logits=True)``)."""

    def __init__(self, model: nn.Module, card: Card, preprocess: Preprocess) -> None:
        super().__init__()
        self.model, self.card, self.preprocess = model, card, preprocess
        self.readouts = timm_readouts.readouts(model)
        self.eval()

    def embed(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """The classifier's input."""
        features = self.model.forward_features(whole_patches(images, patch_of(self.model)))  # type: ignore[operator]
        pooled: Tensor = self.model.forward_head(features, pre_logits=True)  # type: ignore[operator]
        return pooled.flatten(1)

    def feature_maps(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> dict[int, Float[Tensor, "batch channels map_height map_width"]]:
        """The last map of every stride the model declares (``feature_info``); the tokens of a transformer as a map.

        Raises ``ValueError`` for another size than the trained one where the architecture takes no other.
        """
        size = (images.shape[-2], images.shape[-1])
        try:
            maps = last_maps(self.model, pad_to(images, patch_of(self.model)), self.card.name)
        except (AssertionError, RuntimeError) as error:
            if size == self.preprocess.size or not _of_one_size(self.model):
                raise
            trained = " x ".join(map(str, self.preprocess.size))
            raise ValueError(
                f"{self.card.name} was made for images of {trained} pixels and cannot take {size[0]} x {size[1]}: "
                + str(error).splitlines()[0]
            ) from error
        return {stride: fit_to_stride(each, stride, size) for stride, each in maps.items()}

    def read(self, images: Float[Tensor, "batch 3 height width"], readout: str) -> Float[Tensor, "batch dim"]:
        """A block's class token or mean patch, or a stage's mean; see ``readouts``."""
        if readout not in self.readouts:
            raise unknown("readout", readout, self.readouts)
        return timm_readouts.read(self.model, whole_patches(images, patch_of(self.model)), readout)

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """timm's own order of depth (its group matcher, as its layer-wise learning rates use it), head left out."""
        return by_depth(self.model)


class TimmClassifier(TimmBackbone):
    """A timm model with the head its weights came with."""

    def __init__(self, model: nn.Module, card: Card, preprocess: Preprocess, classes: tuple[str, ...]) -> None:
        super().__init__(model, card, preprocess)
        self.classes = classes

    def classify(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """The model's own output."""
        logits: Tensor = self.model(whole_patches(images, patch_of(self.model)))
        return logits


def load(reference: str, places: Places) -> Backbone:
    """Load a model with its pretrained weights, from timm's cache or the network.

    A bare name (``resnet18``) means the tag that is timm's default today; the card names the tag in full.
    Raises ``ValueError`` for a name timm does not know, ``OSError`` where the weights cannot be had.
    """
    name = pinned(reference)
    try:
        with no_long_wait():
            model = timm.create_model(name, pretrained=True, **_any_size(name))
    except (OSError, huggingface_hub.errors.HfHubHTTPError) as error:
        raise OSError(_cannot_fetch(name, error)) from None
    return describe_and_wrap(name, model)


def untrained(reference: str, places: Places) -> Backbone:
    """The same architecture, preprocessing and card, weights as torch's generator initialises them."""
    bare = "." not in reference and timm.is_model(reference) and not timm.list_pretrained(f"{reference}.*")
    name = reference if bare else pinned(reference)
    return describe_and_wrap(name, timm.create_model(name, pretrained=False, **_any_size(name)))


def pinned(reference: str) -> str:
    """``architecture.tag`` in full.

    >>> pinned("resnet18.a1_in1k")
    'resnet18.a1_in1k'
    """
    architecture = reference.partition(".")[0]
    tags = timm.list_pretrained(f"{architecture}.*") if timm.is_model(architecture) else []
    if reference in tags:
        return reference
    if "." in reference or not timm.is_model(reference):
        raise unknown("timm model", reference, tags or timm.list_pretrained())
    config = timm.models.get_pretrained_cfg(reference)
    if not tags or not config or not config.tag:
        raise ValueError(f"timm has no weights for {reference!r}; 'random:timm:{reference}' is its untrained twin")
    return f"{config.architecture}.{config.tag}"


def describe_and_wrap(name: str, model: nn.Module) -> Backbone:
    """Put a model of timm's registry behind the contract, described by what timm says of the tag."""
    tag = describe(model.pretrained_cfg)  # type: ignore[arg-type]
    card = Card(
        name=f"timm:{name}",
        family=tag.family,
        architecture=name.partition(".")[0],
        parameters=trunk_parameters(model),
        pretraining_method=tag.method,
        pretraining_data=tag.data,
        source=SOURCE,
        revision=name,
        licence=str(model.pretrained_cfg.get("license") or "unknown"),  # type: ignore[union-attr, operator]
        weights_sha256=weights_sha256(model, built_as(name.partition(".")[0], {}, Places())),
    )
    outputs = int(model.num_classes) if tag.family != "vision-language" else 0  # type: ignore[arg-type]
    return wrap(model, card, preprocess_of(model), wordnet_ids(outputs))


def build(architecture: str, kwargs: dict[str, Any], places: Places) -> nn.Module:
    """An untrained model. Raises ``ValueError`` for a name or an argument timm does not know."""
    if not timm.is_model(architecture):
        raise unknown("timm architecture", architecture, timm.list_models())
    # create_model drops arguments that are None, where None may be meant (`ls_init_value: null`: no LayerScale)
    entry = partial(timm.create_model, architecture)
    constructor = timm.models.model_entrypoint(architecture) if None in kwargs.values() else entry
    try:
        model: nn.Module = constructor(pretrained=False, **{**_any_size(architecture), **kwargs})
    except TypeError as error:
        raise ValueError(f"timm cannot build {architecture!r} with kwargs {kwargs}: {error}") from None
    return model


def built_as(architecture: str, kwargs: dict[str, Any], places: Places) -> str:
    """What weights are put into, for their identity."""
    return f"timm {architecture} {json.dumps(kwargs, sort_keys=True)}"


def wrap(model: nn.Module, card: Card, preprocess: Preprocess, classes: tuple[str, ...] = ()) -> Backbone:
    """Put a timm model behind the contract; with ``classes`` its head is handed out too."""
    return TimmClassifier(model, card, preprocess, classes) if classes else TimmBackbone(model, card, preprocess)


def _any_size(name: str) -> dict[str, Any]:
    """Many transformers can take any image size: nothing changes at the trained one (tested).

    A Swin's windows keep their size; where one covered the whole map at the trained size, they are not shifted.
    """
    return {"dynamic_img_size": True} if timm.models.is_model_in_modules(name.partition(".")[0], ANY_SIZE) else {}


def patch_of(model: nn.Module) -> int:
    """Side of a patch where the model takes images of any size in whole patches, else 1."""
    return int(model.patch_embed.patch_size[0]) if getattr(model, "dynamic_img_size", False) else 1  # type: ignore[union-attr, index]


def _of_one_size(model: nn.Module) -> bool:
    """Whether timm says that the architecture's shapes are those of one image size."""
    fixed: bool = model.pretrained_cfg.get("fixed_input_size", False)  # type: ignore[union-attr, operator]
    return fixed and not getattr(model, "dynamic_img_size", False)


def last_maps(model: nn.Module, images: Tensor, name: str) -> dict[int, Tensor]:
    """The last map of every stride; a transformer's only one is normalised. ``NotImplementedError`` with ``name``."""
    strides = _last_map_of_strides(model, name)
    found = model.forward_intermediates(  # type: ignore[operator]
        images, indices=list(strides.values()), norm=len(strides) == 1, intermediates_only=True, output_fmt="NCHW"
    )
    size = (images.shape[-2], images.shape[-1])
    return {stride: fit_to_stride(each, stride, size) for stride, each in zip(strides, found, strict=True)}


def reductions(model: nn.Module) -> list[int]:
    """The stride of each map that timm hands out, in depth order."""
    information: Any = model.feature_info
    return [each["reduction"] for each in getattr(information, "info", information)]


def _last_map_of_strides(model: nn.Module, name: str) -> dict[int, int]:
    if not callable(getattr(model, "forward_intermediates", None)):
        raise NotImplementedError(f"{name}: timm gives no intermediate maps for this architecture")
    strides = reductions(model)
    # VGG lists the image-sized map first but does not hand it out, so count from the end.
    return {stride: index - len(strides) for index, stride in enumerate(strides)}


def by_depth(model: nn.Module) -> list[tuple[str, list[nn.Parameter]]]:
    """Parameters in timm's order of depth, the classifier's left out."""
    head = {id(parameter) for parameter in head_parameters(model)}
    named = {name: value for name, value in model.named_parameters() if id(value) not in head}
    matcher = getattr(model, "group_matcher", None)
    groups = group_parameters(model, matcher(coarse=False) if matcher else STAGED)
    kept = [[name for name in names if name in named] for _, names in sorted(groups.items())]
    return [
        (f"{depth} {names[0].rpartition('.')[0] or names[0]}", [named[name] for name in names])
        for depth, names in enumerate(filter(None, kept))
    ]


def head_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """Parameters of the classifier (two of them in distilled models)."""
    heads: Any = model.get_classifier()  # type: ignore[operator]
    for head in heads if isinstance(heads, tuple | list) else [heads]:
        yield from head.parameters()


def trunk_parameters(model: nn.Module) -> int:
    """How many parameters there are without the classifier's."""
    head = {id(parameter) for parameter in head_parameters(model)}
    return sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in head)


def preprocess_of(model: nn.Module) -> Preprocess:
    """The evaluation transform timm declares for the weights: resize = size / crop_pct, then the centre."""
    config = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    height, width = config["input_size"][1:]
    if config["interpolation"] not in ("nearest", "bilinear", "bicubic"):
        raise ValueError(f"timm declares interpolation {config['interpolation']!r}, which BoB does not do")
    return Preprocess(
        size=(height, width),
        resize=math.floor(min(height, width) / config["crop_pct"]),
        crop="squash" if config["crop_mode"] == "squash" else "center",
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def _cannot_fetch(name: str, error: Exception) -> str:
    config = timm.models.get_pretrained_cfg(name)
    where = config.hf_hub_id or config.url if config else name
    cache = huggingface_hub.constants.HF_HUB_CACHE
    return (
        f"cannot fetch the weights of timm:{name} ({type(error).__name__}). They are model.safetensors of {where}; "
        f"on a machine with a network `huggingface-cli download {where}` puts them into its cache, "
        f"to be copied to {cache}; or name the downloaded file in a card and use checkpoint:CARD.yaml"
    )


ADAPTERS = {"timm": load}
UNTRAINED = {"timm": untrained}
LIBRARIES = {"timm": Library(SOURCE, build, wrap, trunk_parameters, built_as)}
