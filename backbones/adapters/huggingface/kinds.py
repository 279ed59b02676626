"""What transformers' vision models are and how their authors read them: a row of data for each model type."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from backbones.base import Family
from backbones.plugins import unknown

Layout = Literal["tokens", "stages"]
Pooled = Literal["pooler", "cls", "mean", "map"]
"""``pooler``: the library's ``pooler_output``, or the mean of the patches where a checkpoint has no pooler.
``cls``: the class token, ``mean``: the mean of the patch tokens, both after the final norm. ``map``: the mean of the
output map."""


@dataclass(frozen=True)
class Kind:
    """One model type.

    ``model`` is the library's class, ``tower`` where in it the image tower is, ``alone`` whether the tower is all that
    is kept. ``blocks`` is the list of blocks, or of stages (``inner`` then names their list of blocks where the stage's
    own output is already downsampled). ``norm`` is the norm after the last block, through which every block is read.
    ``projection`` and ``text`` are of models with a text tower: what follows pooling, and how the tokenizer pads.
    ``classifier`` is the class with a head. ``unused`` are parts that take no part in an image's features and are taken
    out; ``optional`` are taken out where the checkpoint has none; ``other_heads`` are weights of a checkpoint, beside
    the trunk, that are not read. ``inputs`` is how images are handed over, ``one_size`` that there is but one size.
    """

    model: str
    sentence: str
    family: Family
    method: str
    data: str
    blocks: str
    pooled: Pooled = "pooler"
    layout: Layout = "tokens"
    has_cls: bool = True
    norm: str = ""
    inner: str = ""
    tower: str = ""
    alone: bool = False
    projection: str = ""
    text: Literal["", "longest", "max_length"] = ""
    classifier: str = ""
    unused: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    other_heads: tuple[str, ...] = ()
    inputs: Literal["image", "patches", "unshuffled"] = "image"
    one_size: bool = False


SUPERVISED: dict[str, Any] = {"family": "supervised", "method": "supervised", "data": "ImageNet-1k"}
SELF_SUPERVISED: dict[str, Any] = {"family": "self-supervised"}
MASK = ("embeddings.mask_token",)
DINOV2: dict[str, Any] = {
    **SELF_SUPERVISED,
    "method": "DINOv2",
    "data": "LVD-142M",
    "blocks": "encoder.layer",
    "norm": "layernorm",
    "unused": MASK,
}
DINOV3: dict[str, Any] = {**SELF_SUPERVISED, "method": "DINOv3", "data": "LVD-1689M"}
VIT: dict[str, Any] = {"blocks": "layers", "norm": "layernorm", "unused": (*MASK, "pooler"), "pooled": "cls"}
BEIT: dict[str, Any] = {**SELF_SUPERVISED, "norm": "layernorm", "unused": MASK, "optional": ("pooler",)}
LANGUAGE: dict[str, Any] = {"family": "vision-language", "blocks": "encoder.layers", "norm": "post_layernorm"}
SIGLIP: dict[str, Any] = {**LANGUAGE, "method": "SigLIP", "data": "WebLI", "has_cls": False}
CLIP: dict[str, Any] = {**LANGUAGE, "method": "CLIP", "data": "WIT-400M"}
AIMV2: dict[str, Any] = {**LANGUAGE, "method": "AIMv2", "data": "DFN-2B, COYO and others", "has_cls": False}
AIMV2 |= {"norm": "rms_norm", "one_size": True}
SWIN: dict[str, Any] = {**SUPERVISED, "blocks": "encoder.layers", "layout": "stages", "inner": "blocks", "unused": MASK}
CONVOLUTIONAL: dict[str, Any] = {**SUPERVISED, "blocks": "encoder.stages", "layout": "stages"}
SAM: dict[str, Any] = {"family": "segmentation", "method": "Segment Anything", "data": "SA-1B", "blocks": "layers"}
SAM |= {"tower": "vision_encoder", "alone": True, "pooled": "map", "has_cls": False, "one_size": True}
DEPTH: dict[str, Any] = {"family": "depth", "alone": True, "pooled": "mean", "blocks": "encoder.layer"}
DEPTH |= {"norm": "layernorm"}

KINDS: Mapping[str, Kind] = {
    "dinov2": Kind(
        "Dinov2Model", "the class token after the final norm", classifier="Dinov2ForImageClassification", **DINOV2
    ),
    "dinov2_with_registers": Kind(
        "Dinov2WithRegistersModel",
        "the class token after the final norm; register tokens are left out of maps and means",
        classifier="Dinov2WithRegistersForImageClassification",
        **DINOV2,
    ),
    "dinov3_vit": Kind(
        "DINOv3ViTModel",
        "the class token after the final norm; register tokens are left out of maps and means",
        blocks="model.layer",
        norm="norm",
        unused=MASK,
        **DINOV3,
    ),
    "dinov3_convnext": Kind(
        "DINOv3ConvNextModel", "the normalised mean of the last map", blocks="model.stages", layout="stages", **DINOV3
    ),
    "vit": Kind(
        "ViTModel",
        "the class token after the final norm, as for DINO and supervised ViTs; the tanh pooler is left out",
        classifier="ViTForImageClassification",
        family="supervised",
        method="as the repository says",
        data="unknown",
        **VIT,
    ),
    "vit_mae": Kind(
        "ViTMAEModel",
        "the class token after the final norm, as MAE's linear probe; nothing masked and nothing shuffled",
        method="MAE",
        data="ImageNet-1k",
        other_heads=("decoder.*",),
        inputs="unshuffled",
        **SELF_SUPERVISED,
        **VIT,
    ),
    "ijepa": Kind(
        "IJepaModel",
        "the mean of the patch tokens after the final norm",
        method="I-JEPA",
        data="ImageNet",
        has_cls=False,
        **SELF_SUPERVISED,
        **{**VIT, "pooled": "mean"},
    ),
    "beit": Kind(
        "BeitModel",
        "the normalised mean of the patch tokens; without a pooler, as after masked image modelling, the plain mean",
        method="BEiT",
        data="ImageNet-22k",
        blocks="layers",
        classifier="BeitForImageClassification",
        other_heads=("lm_head.*", "layernorm.*"),
        **BEIT,
    ),
    "data2vec-vision": Kind(
        "Data2VecVisionModel",
        "the mean of the patch tokens; normalised where the checkpoint is a classifier and so has a pooler",
        method="data2vec",
        data="ImageNet-1k",
        blocks="encoder.layer",
        classifier="Data2VecVisionForImageClassification",
        **BEIT,
    ),
    "siglip": Kind(
        "SiglipModel",
        "attention pooling, the space it shares with its text; SigLIP 2 of fixed resolution too",
        tower="vision_model",
        text="max_length",
        **SIGLIP,
    ),
    "siglip_vision_model": Kind("SiglipVisionModel", "attention pooling; the image tower alone", **SIGLIP),
    "siglip2": Kind(
        "Siglip2Model",
        "attention pooling; the SigLIP 2 of any aspect (NaFlex), given square images",
        tower="vision_model",
        text="max_length",
        inputs="patches",
        **SIGLIP,
    ),
    "siglip2_vision_model": Kind(
        "Siglip2VisionModel", "attention pooling; the image tower alone", inputs="patches", **SIGLIP
    ),
    "clip": Kind(
        "CLIPModel",
        "the projected class token, the space it shares with its text",
        tower="vision_model",
        projection="visual_projection",
        text="longest",
        **CLIP,
    ),
    "clip_vision_model": Kind("CLIPVisionModel", "the normalised class token, not projected", **CLIP),
    "CLIPVisionModelWithProjection": Kind(
        "CLIPVisionModelWithProjection",
        "the projected class token; the image tower alone",
        tower="vision_model",
        projection="visual_projection",
        **CLIP,
    ),
    "aimv2": Kind(
        "Aimv2Model",
        "projected attention pooling, the space it shares with its text",
        tower="vision_model",
        projection="visual_projection",
        text="longest",
        **AIMV2,
    ),
    "aimv2_vision_model": Kind(
        "Aimv2VisionModel", "attention pooling where the checkpoint has it, else the mean of the patch tokens", **AIMV2
    ),
    "swin": Kind("SwinModel", "the mean of the normalised last map", classifier="SwinForImageClassification", **SWIN),
    "swinv2": Kind(
        "Swinv2Model", "the mean of the normalised last map", classifier="Swinv2ForImageClassification", **SWIN
    ),
    "convnext": Kind(
        "ConvNextModel",
        "the normalised mean of the last map",
        classifier="ConvNextForImageClassification",
        **CONVOLUTIONAL,
    ),
    "convnextv2": Kind(
        "ConvNextV2Model",
        "the normalised mean of the last map",
        classifier="ConvNextV2ForImageClassification",
        **CONVOLUTIONAL,
    ),
    "resnet": Kind(
        "ResNetModel", "the mean of the last map", classifier="ResNetForImageClassification", **CONVOLUTIONAL
    ),
    "sam": Kind("SamModel", "the mean over the image encoder's output map (after its neck), padding and all", **SAM),
    "sam_vision_model": Kind(
        "SamVisionModel", "the mean over the image encoder's output map (after its neck), padding and all", **SAM
    ),
    "dpt": Kind(
        "DPTForDepthEstimation",
        "the mean of the patch tokens after the final norm; the depth head is left out",
        tower="dpt",
        method="MiDaS (DPT)",
        data="MIX 6",
        **DEPTH,
    ),
    "depth_anything": Kind(
        "DepthAnythingForDepthEstimation",
        "the mean of the patch tokens after the final norm: the depth head never sees the last block's class token",
        tower="backbone",
        method="Depth Anything",
        data="62M images, as the repository says",
        **DEPTH,
    ),
}
"""By the configuration's ``model_type``, or by the class named in its ``architectures`` where that decides."""

SETTINGS_OF_NO_WEIGHT = frozenset(
    {
        *("_name_or_path", "transformers_version", "architectures", "auto_map", "dtype", "torch_dtype"),
        *(
            "problem_type",
            "id2label",
            "label2id",
            "mask_ratio",
            "output_hidden_states",
            "output_attentions",
            "return_dict",
        ),
    }
)
"""Entries of a configuration that do not change what the weights compute; the rest is part of a backbone's identity."""


def kind_of(config: Mapping[str, Any], where: str) -> Kind:
    """The row for a ``config.json``. Raises ``ValueError`` naming the choices for a type that has none."""
    model_type = str(config.get("model_type"))
    found = KINDS.get(next(iter(config.get("architectures") or []), ""), KINDS.get(model_type))
    if found is None:
        error = unknown("model type", model_type, sorted(KINDS))
        raise ValueError(f"{where}: {error}. BoB knows: {', '.join(sorted(KINDS))}")
    return found


def depth_of(parameter: str, layout: Layout) -> str:
    """The block a parameter belongs to, from its name in the tower.

    >>> depth_of("encoder.layer.3.mlp.fc1.weight", "tokens"), depth_of("layernorm.bias", "tokens")
    ('encoder.layer.3', 'layernorm')
    >>> depth_of("layers.1.blocks.0.mlp.0.weight", "stages"), depth_of("layers.1.downsample.norm", "stages")
    ('layers.1.blocks.0', 'layers.1.downsample')
    """
    inside = r"(?:\.(?:blocks|layers)\.\d+|\.\w+)" if layout == "stages" else ""
    found = re.match(rf"[a-z_.]+?\.\d+{inside}", parameter)
    return found.group() if found else parameter.partition(".")[0]
