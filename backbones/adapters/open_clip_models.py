"""Any vision-language model of open_clip: ``open_clip:ViT-B-16/laion2b_s34b_b88k`` (an architecture and its tag)."""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import huggingface_hub
import open_clip
import torch
from jaxtyping import Float
from open_clip import convert, factory
from open_clip.timm_model import TimmModel
from torch import Tensor, nn

from backbones.adapters import timm_reference
from backbones.adapters.hub import commit_of, no_long_wait
from backbones.adapters.library import Library
from backbones.adapters.open_clip_tags import data_of, licence_of, method_of
from backbones.adapters.open_clip_towers import take_any_size, tower_of
from backbones.base import Backbone, Card, Preprocess
from backbones.places import Places
from backbones.plugins import unknown
from backbones.reference import Reference, model_of
from backbones.weights import load_strictly, read_weights, weights_sha256

TINY = Path(__file__).parent / "tiny" / "open_clip"
SOURCE = f"open_clip {open_clip.__version__}"


class OpenClipBackbone(Backbone):
    """A model of open_clip: ``embed`` and ``embed_text`` are its two towers, projected and not normalised.

    Its trunk is the image tower with its projection; the text tower takes no part in ``layers`` or ``parameters``.
    """

    def __init__(self, model: nn.Module, card: Card, preprocess: Preprocess) -> None:
        super().__init__()
        self.model, self.card, self.preprocess = model, card, preprocess
        self.tower = tower_of(model.visual)  # type: ignore[arg-type]
        self.readouts = self.tower.readouts
        self.eval()

    def embed(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """The image tower's projected embedding."""
        return self.tower.embed(images)

    def embed_text(self, prompts: Sequence[str]) -> Float[Tensor, "prompts dim"]:
        """The text tower's projected embedding. Raises ``OSError`` where the tokenizer cannot be had."""
        tokens = self._tokenizer(list(prompts)).to(next(self.model.parameters()).device)
        embedded: Tensor = self.model.encode_text(tokens, normalize=False)  # type: ignore[operator]
        return embedded

    @property
    def logit_scale(self) -> float:
        """The learnt scale of the contrastive loss."""
        learnt: Tensor = self.model.logit_scale  # type: ignore[assignment]
        return float(learnt.detach().exp())

    def overlong(self, prompts: Sequence[str]) -> list[str]:
        """Those of which twice the context takes more tokens. An empty prompt shows which tokens are only padding."""

        def lengths(context: int) -> Tensor:
            tokens: Tensor = self._tokenizer(["", *prompts], context_length=context)
            return (tokens[1:] != tokens[:1]).sum(1)

        context: int = self._tokenizer.context_length
        cut = lengths(2 * context) > lengths(context)
        return [prompt for prompt, is_cut in zip(prompts, cut.tolist(), strict=True) if is_cut]

    def feature_maps(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> dict[int, Float[Tensor, "batch channels map_height map_width"]]:
        """A transformer's patch tokens after its final norm as one map; the stages of a convolutional tower."""
        return self.tower.feature_maps(images)

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """The image tower by depth, its projection last."""
        return self.tower.layers()

    def read(self, images: Float[Tensor, "batch 3 height width"], readout: str) -> Float[Tensor, "batch dim"]:
        """Another layer or pooling of the image tower, not projected."""
        return self.tower.read(images, readout)

    @cached_property
    def _tokenizer(self) -> Any:
        """Fetched when text first comes: many tokenizers live on the hub, and images need none."""
        try:
            with no_long_wait():
                return open_clip.get_tokenizer(self.card.architecture)
        except (OSError, ValueError, ImportError) as error:
            raise OSError(
                f"cannot fetch the tokenizer of {self.card.name} ({_one_line(error)}); on a machine with a network "
                f"open_clip.get_tokenizer({self.card.architecture!r}) puts it into the hub's cache, "
                f"to be copied to {huggingface_hub.constants.HF_HUB_CACHE}"
            ) from None


def load(reference: str, places: Places) -> Backbone:
    """Load both towers with a tag's weights, from the hub's cache or the network; the card names the hub's commit.

    Raises ``ValueError`` for a name open_clip does not know or weights that do not fit, ``OSError`` where they cannot
    be had.
    """
    architecture, tag = split(reference)
    config = open_clip.get_pretrained_cfg(architecture, tag)
    try:
        with no_long_wait():
            path = Path(open_clip.download_pretrained(config))
            model = build(architecture, _arguments(config), places)
    except (OSError, huggingface_hub.errors.HfHubHTTPError) as error:
        raise OSError(_cannot_fetch(reference, config, error)) from None
    try:
        load_strictly(model, _state_of(model, path))
    except ValueError as error:
        raise ValueError(f"open_clip:{reference}: {error}") from None
    return _describe(architecture, tag, config, model, commit_of(path) or tag)


def untrained(reference: str, places: Places) -> Backbone:
    """The same architecture, preprocessing and card, weights as open_clip initialises them.

    Those of ours (``tiny/open_clip``: ``test_vit``) have no tag; images are prepared as is open_clip's default, CLIP's.
    """
    architecture, tag, config = _parts(reference)
    return _describe(architecture, tag, config, build(architecture, _arguments(config), places), tag)


def reference(reference: str, places: Places) -> Reference:
    """open_clip's own transform and ``encode_image``; dense maps by its own ``forward_intermediates``, but those of a
    plain timm transformer by timm's ``forward_features``, the tokens that its pooling is given.

    One thing is not left to open_clip's defaults: it only warns where a tag was trained with another activation
    (QuickGELU) than the architecture's configuration says.
    """
    architecture, tag = split(reference)
    activation = _activation(open_clip.get_pretrained_cfg(architecture, tag))
    with no_long_wait():
        model, _, transform = open_clip.create_model_and_transforms(architecture, pretrained=tag, **activation)
    return _own_path(model, transform)


def untrained_reference(reference: str, backbone: Backbone, places: Places) -> Reference:
    """The same around a model open_clip builds anew, with the weights of ``backbone``."""
    architecture, _, config = _parts(reference)
    prepared = {
        f"image_{name}": config[name] for name in ("mean", "std", "interpolation", "resize_mode") if name in config
    }
    with no_long_wait():
        model, _, transform = open_clip.create_model_and_transforms(
            architecture, pretrained=None, pretrained_text=False, **_activation(config), **prepared
        )
    model.load_state_dict(model_of(backbone).state_dict())
    return _own_path(model, transform)


def _own_path(model: Any, transform: Any) -> Reference:
    model.eval()

    @torch.no_grad()
    def embed(images: Tensor) -> Tensor:
        embedded: Tensor = model.encode_image(images, normalize=False)
        return embedded

    return Reference(transform, embed, _dense_path(model.visual))


def _dense_path(visual: Any) -> Callable[[Tensor], Mapping[int, Tensor]] | None:
    """Maps after the final norm, where there is one; None for CoCa, whose final norm does not fit its tokens.

    ``forward_intermediates`` of a timm tower leaves the norm out unless told, so the last block's tokens are not what
    the tower's own pooling is given (SigLIP 2 B/16 with random weights: apart by 1.5 of the root mean square).
    """
    if isinstance(visual, TimmModel) and isinstance(visual.trunk, timm_reference.ONE_GRID):
        return timm_reference.dense_path(visual.trunk)
    if getattr(visual, "attn_pool", None) is not None:
        return None

    @torch.no_grad()
    def feature_maps(images: Tensor) -> Mapping[int, Tensor]:
        normalise = isinstance(visual, open_clip.transformer.VisionTransformer)
        found = visual.forward_intermediates(images, intermediates_only=True, normalize_intermediates=normalise)
        return {images.shape[-1] // each.shape[-1]: each for each in found["image_intermediates"]}

    return feature_maps


def split(name: str) -> tuple[str, str]:
    """Architecture and tag. Raises ``ValueError`` with suggestions for a pair open_clip does not know.

    >>> split("RN50/openai")
    ('RN50', 'openai')
    """
    architecture, _, tag = name.partition("/")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if not tags:
        raise unknown("open_clip model", name, [f"{model}/{tag}" for model, tag in open_clip.list_pretrained()])
    if tag not in tags:
        raise unknown(f"weights of open_clip's {architecture}", tag, tags)
    return architecture, tag


def _parts(reference: str) -> tuple[str, str, Mapping[str, Any]]:
    """Architecture, tag and what the tag changes; the smallest of a kind are ours and have neither tag nor weights."""
    if (TINY / f"{reference}.json").is_file():
        open_clip.add_model_config(TINY)
        return reference, "", {}
    architecture, tag = split(reference)
    return architecture, tag, open_clip.get_pretrained_cfg(architecture, tag)


def build(architecture: str, kwargs: dict[str, Any], places: Places) -> nn.Module:
    """An untrained model of both towers; ``kwargs`` are fields of open_clip's model configuration, or ``force_...``.

    Raises ``ValueError`` for a name or an argument open_clip does not know, ``OSError`` where a text tower's
    configuration is on the hub and cannot be had.
    """
    if architecture not in open_clip.list_models():
        raise unknown("open_clip architecture", architecture, open_clip.list_models())
    own = [name for name in inspect.signature(open_clip.create_model).parameters if not name.startswith("force_")]
    if taken := sorted(set(kwargs) & set(own)):
        raise ValueError(
            f"kwargs {', '.join(taken)} are not for a card: weights, precision and device are BoB's to say"
        )
    text = open_clip.get_model_config(architecture).get("text_cfg", {})
    try:
        with no_long_wait() if "hf_model_name" in text else nullcontext():
            model: nn.Module = open_clip.create_model(architecture, pretrained_text=False, **kwargs)
    except TypeError as error:
        raise ValueError(f"open_clip cannot build {architecture!r} with kwargs {kwargs}: {error}") from None
    take_any_size(model.visual)  # type: ignore[arg-type]
    return model


def built_as(architecture: str, kwargs: dict[str, Any], places: Places) -> str:
    """What weights are put into, for their identity."""
    return f"open_clip {architecture} {json.dumps(kwargs, sort_keys=True)}"


def wrap(model: nn.Module, card: Card, preprocess: Preprocess, classes: tuple[str, ...] = ()) -> Backbone:
    """Put a model behind the contract."""
    if classes:
        raise ValueError(f"{card.name}: open_clip has no classifier for `classes` to name; take it out of the card")
    return OpenClipBackbone(model, card, preprocess)


def trunk_parameters(model: nn.Module) -> int:
    """How many parameters the image tower has, its projection included."""
    visual: nn.Module = model.visual  # type: ignore[assignment]
    return sum(parameter.numel() for parameter in visual.parameters())


def preprocess_of(model: nn.Module) -> Preprocess:
    """The evaluation transform open_clip makes of the model's configuration.

    Raises ``ValueError`` for one that :class:`Preprocess` cannot say: padding to a square, or a crop that is not one.
    """
    config: dict[str, Any] = model.visual.preprocess_cfg  # type: ignore[union-attr, assignment]
    size = config["size"]
    height, width = (size, size) if isinstance(size, int) else size
    mode = config["resize_mode"]
    if mode == "longest" or (mode == "shortest" and height != width):
        raise ValueError(
            f"open_clip declares resize_mode {mode!r} for {height} x {width} pixels, which BoB does not do"
        )
    return Preprocess(
        size=(height, width),
        resize=min(height, width),
        crop="squash" if mode == "squash" else "center",
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",  # as open_clip reads it
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def _activation(config: Mapping[str, Any]) -> dict[str, Any]:
    """The activation a tag was trained with, which its architecture's configuration may not say."""
    return {"force_quick_gelu": True} if config.get("quick_gelu") else {}


def _arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a tag changes of its architecture: the activation, and the preprocessing."""
    names = ("mean", "std", "interpolation", "resize_mode", "fill_color")
    return {**_activation(config), "force_preprocess_cfg": {name: config[name] for name in names if name in config}}


def _state_of(model: Any, path: Path) -> dict[str, Tensor]:
    """The file's weights under this model's names, by open_clip's own conversions of older and others' layouts.

    Position embeddings of another size are not resized, as open_clip would silently do: the strict load refuses them.
    """
    state = convert.convert_state_dict(model, _read(path))
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = factory.convert_to_custom_text_state_dict(state)
    for name in ("logit_scale", "logit_bias"):  # saved as a scalar or as one value
        if name in state and (own := getattr(model, name)) is not None:
            state[name] = state[name].reshape(own.shape)
    # a buffer that transformers saved until 4.31
    return {name: value for name, value in state.items() if name != "text.transformer.embeddings.position_ids"}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state = read_weights(path)
    except ValueError:  # a training checkpoint of open_clip wraps them
        state = read_weights(path, "state_dict")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _describe(architecture: str, tag: str, config: Mapping[str, Any], model: nn.Module, revision: str) -> Backbone:
    card = Card(
        name=f"open_clip:{architecture}/{tag}" if tag else f"open_clip:{architecture}",
        family="vision-language",
        architecture=architecture,
        parameters=trunk_parameters(model),
        pretraining_method=method_of(architecture, tag),
        pretraining_data=data_of(tag),
        source=SOURCE,
        revision=revision,
        licence=licence_of(config.get("hf_hub", "")),
        weights_sha256=weights_sha256(model, built_as(architecture, _activation(config), Places())),
    )
    return wrap(model, card, preprocess_of(model))


def _cannot_fetch(name: str, config: Mapping[str, Any], error: Exception) -> str:
    where = config.get("hf_hub", "").rstrip("/") or config.get("url") or name
    return (
        f"cannot fetch the weights of open_clip:{name} ({type(error).__name__}). They are in {where}; "
        f"on a machine with a network `huggingface-cli download {where}` puts them into its cache, "
        f"to be copied to {huggingface_hub.constants.HF_HUB_CACHE}; "
        "or name the downloaded file in a card (`library: open_clip`) and use checkpoint:CARD.yaml"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


ADAPTERS = {"open_clip": load}
UNTRAINED = {"open_clip": untrained}
REFERENCES = {"open_clip": reference}
UNTRAINED_REFERENCES = {"open_clip": untrained_reference}
LIBRARIES = {"open_clip": Library(SOURCE, build, wrap, trunk_parameters, built_as)}
