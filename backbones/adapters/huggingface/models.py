"""Vision models of transformers: ``huggingface:facebook/dinov2-base@REVISION``, or a folder in its format."""

import json
from collections.abc import Sequence
from typing import Any

import transformers
from jaxtyping import Float
from torch import Tensor, nn

from backbones.adapters.huggingface import build
from backbones.adapters.huggingface import tower as tower_of
from backbones.adapters.huggingface.files import Repository, open_repository, processor_of, tokenizer_of
from backbones.adapters.huggingface.kinds import SETTINGS_OF_NO_WEIGHT, Kind
from backbones.adapters.huggingface.preprocess import preprocess_of
from backbones.adapters.imagenet import wordnet_ids_of
from backbones.base import Backbone, Card, Preprocess
from backbones.places import Places
from backbones.weights import weights_sha256

SOURCE = f"transformers {transformers.__version__}"


class HuggingFaceBackbone(Backbone):
    """A transformers model read as its row of the table says."""

    def __init__(self, model: nn.Module, kind: Kind, card: Card, preprocess: Preprocess) -> None:
        super().__init__()
        self.model, self.kind, self.card, self.preprocess = model, kind, card, preprocess
        self.readouts = tower_of.readouts(self.tower, kind)
        self.eval()

    @property
    def tower(self) -> nn.Module:
        """The part of the model that images go through."""
        return self.model.get_submodule(build.tower_path(self.model, self.kind))

    def embed(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """The vector the model's authors transfer; projected into the space of the text where there is one."""
        vectors = tower_of.pooled(self.tower, self.kind, images)
        projection = self.kind.projection
        return self.model.get_submodule(projection)(vectors) if projection else vectors

    def feature_maps(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> dict[int, Float[Tensor, "batch channels map_height map_width"]]:
        """The last map of every stride among the stages; the output tokens of a vision transformer as one map."""
        return tower_of.maps(self.tower, self.kind, images)

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """One group a block of the image tower, then the projection."""
        return build.layers(self.model, self.kind)

    def read(self, images: Float[Tensor, "batch 3 height width"], readout: str) -> Float[Tensor, "batch dim"]:
        """A block's class token, the mean of its patches, or both (``block11/cls+mean``); see ``readouts``."""
        return tower_of.read(self.tower, self.kind, images, readout)


class HuggingFaceClassifier(HuggingFaceBackbone):
    """A checkpoint with a classifier head."""

    def __init__(
        self, model: nn.Module, kind: Kind, card: Card, preprocess: Preprocess, classes: tuple[str, ...]
    ) -> None:
        super().__init__(model, kind, card, preprocess)
        self.classes = classes

    def classify(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """The model's own logits."""
        logits: Tensor = tower_of.run(self.tower, self.kind, images, self.model).logits
        return logits


class HuggingFaceTextBackbone(HuggingFaceBackbone):
    """An image tower with its text tower and the tokenizer it was trained with."""

    def __init__(self, model: nn.Module, kind: Kind, card: Card, preprocess: Preprocess, tokenizer: Any) -> None:
        super().__init__(model, kind, card, preprocess)
        self.tokenizer = tokenizer

    def embed_text(self, prompts: Sequence[str]) -> Float[Tensor, "prompts dim"]:
        """The library's text features; prompts are cut, and padded as in training, to the text tower's length."""
        tokens = self.tokenizer(
            list(prompts), padding=self.kind.text, truncation=True, max_length=self.context_length, return_tensors="pt"
        )
        device = next(self.parameters()).device
        asked = {name: tokens[name].to(device) for name in ("input_ids", "attention_mask") if name in tokens}
        vectors: Tensor = self.model.get_text_features(**asked).pooler_output  # type: ignore[operator]
        return vectors

    @property
    def context_length(self) -> int:
        """The most tokens the text tower reads."""
        text: Any = self.model.config.text_config  # type: ignore[union-attr]
        return int(text.max_position_embeddings)

    @property
    def logit_scale(self) -> float:
        """The learnt scale of the contrastive loss, up to the largest that the model lets itself use (AIMv2)."""
        model: Any = self.model
        largest = getattr(model, "max_log_logit_scale", None)
        learnt: Tensor = model.logit_scale if largest is None else model.logit_scale.clamp(0.0, largest)
        return float(learnt.detach().exp())

    def overlong(self, prompts: Sequence[str]) -> list[str]:
        """Those of more tokens than the text tower reads."""
        tokens = self.tokenizer(list(prompts), truncation=False, padding=False, verbose=False)["input_ids"]
        return [prompt for prompt, ids in zip(prompts, tokens, strict=True) if len(ids) > self.context_length]


def load(reference: str, places: Places) -> Backbone:
    """Load ``REPO[@REVISION]`` from a folder, the hub's cache or the network; safetensors, every key accounted for.

    Raises ``ValueError`` for a model we do not know or weights that do not fit, ``OSError`` where they cannot be had.
    """
    repository = open_repository(reference, places)
    return _wrap(repository, *build.trained(repository))


def untrained(reference: str, places: Places) -> Backbone:
    """The same architecture, preprocessing and card, weights as the library draws them; no weights need be there."""
    repository = open_repository(reference, places, weights=False)
    return _wrap(repository, *build.untrained(repository))


def _wrap(repository: Repository, model: nn.Module, kind: Kind) -> Backbone:
    preprocess = preprocess_of(processor_of(repository), repository.name)
    card = _card(repository, model, kind)
    if type(model).__name__ == kind.classifier:
        return HuggingFaceClassifier(model, kind, card, preprocess, _classes(model))
    if kind.text:
        return HuggingFaceTextBackbone(model, kind, card, preprocess, tokenizer_of(repository))
    return HuggingFaceBackbone(model, kind, card, preprocess)


def _card(repository: Repository, model: nn.Module, kind: Kind) -> Card:
    stated = repository.front_matter
    datasets = stated.get("datasets")
    # A DINOv2 classifier is a linear layer on a frozen trunk; any other's trunk was trained with it.
    tuned = type(model).__name__ == kind.classifier and kind.method != "DINOv2" and kind.family != "supervised"
    return Card(
        name=repository.name,
        family="supervised" if tuned else kind.family,
        architecture=str(repository.config["model_type"]),
        parameters=sum(parameter.numel() for _, group in build.layers(model, kind) for parameter in group),
        pretraining_method=f"{kind.method}, then supervised" if tuned else kind.method,
        pretraining_data=", ".join(map(str, datasets)) if isinstance(datasets, list) and datasets else kind.data,
        source=SOURCE,
        revision=repository.revision,
        licence=str(stated.get("license") or "unknown"),
        weights_sha256=weights_sha256(model, _built_as(model)),
    )


def _built_as(model: nn.Module) -> str:
    """The class and every setting that changes what the weights compute."""
    settings: Any = model.config.to_diff_dict()  # type: ignore[union-attr, operator]
    kept = {name: value for name, value in settings.items() if name not in SETTINGS_OF_NO_WEIGHT}
    return f"transformers {type(model).__name__} {json.dumps(kept, sort_keys=True, default=str)}"


def _classes(model: nn.Module) -> tuple[str, ...]:
    names: dict[int, str] = model.config.id2label  # type: ignore[union-attr, assignment]
    return wordnet_ids_of([str(names[index]) for index in sorted(names)])


ADAPTERS = {"huggingface": load}
UNTRAINED = {"huggingface": untrained}
