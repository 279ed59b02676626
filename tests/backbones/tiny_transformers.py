"""Models of every kind BoB reads from transformers, tiny and random, saved in the library's own format."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

TOKENS: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
SIXTEEN: dict[str, Any] = {**TOKENS, "image_size": 64, "patch_size": 16}
TEXT: dict[str, Any] = {**TOKENS, "vocab_size": 99, "max_position_embeddings": 8}
TEXT |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SWIN: dict[str, Any] = {"embed_dim": 8, "depths": [1, 2], "num_heads": [1, 2], "window_size": 4, "image_size": 32}
CONVOLUTIONAL: dict[str, Any] = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}
HEAD: dict[str, Any] = {"neck_hidden_sizes": [8, 8], "fusion_hidden_size": 8}
FOUR: dict[str, Any] = {"neck_hidden_sizes": [8] * 4, "fusion_hidden_size": 8}
SAM: dict[str, Any] = {**SIXTEEN, "output_channels": 16, "global_attn_indexes": [1], "window_size": 2}
SAM |= {"initializer_range": 0.02, "mlp_dim": 64}
SAM.pop("intermediate_size")
DINOV2: dict[str, Any] = {**TOKENS, "image_size": 56, "patch_size": 14}

VIT = ("ViTImageProcessor", {"size": {"height": 64, "width": 64}})
BIT = ("BitImageProcessor", {"size": {"shortest_edge": 80}, "crop_size": {"height": 56, "width": 56}})
CLIP = ("CLIPImageProcessor", {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}})
CONVNEXT = ("ConvNextImageProcessor", {"size": {"shortest_edge": 64}, "crop_pct": 0.875})
DINOV3 = ("DINOv3ViTImageProcessor", {"size": {"height": 64, "width": 64}})
SIGLIP = ("SiglipImageProcessor", {"size": {"height": 64, "width": 64}})
NAFLEX = ("Siglip2ImageProcessor", {"patch_size": 16, "max_num_patches": 16})
BEIT = ("BeitImageProcessor", {"size": {"height": 64, "width": 64}})
SAM_PROCESSOR = ("SamImageProcessor", {"size": {"longest_edge": 64}, "pad_size": {"height": 64, "width": 64}})
DPT = ("DPTImageProcessor", {"size": {"height": 64, "width": 64}})
DEPTH_ANYTHING = (
    "DPTImageProcessor",
    {"size": {"height": 70, "width": 70}, "keep_aspect_ratio": True, "ensure_multiple_of": 14, "resample": 3},
)

Built = Callable[[], Any]


def config(name: str, **settings: Any) -> Built:
    """The library's model of that name, untrained."""

    def build() -> Any:
        library = getattr(transformers, name)
        return library(library.config_class(**settings))

    return build


def depth_anything() -> Any:
    inner = transformers.Dinov2Config(**DINOV2, out_indices=[1, 2], reshape_hidden_states=False)
    sides: dict[str, Any] = {"reassemble_hidden_size": 32, "reassemble_factors": [4, 2]}
    return transformers.DepthAnythingForDepthEstimation(
        transformers.DepthAnythingConfig(backbone_config=inner, **sides, **HEAD)
    )


def dpt_swin() -> Any:
    inner = transformers.Swinv2Config(**SWIN, out_indices=[1, 2])
    return transformers.DPTForDepthEstimation(transformers.DPTConfig(backbone_config=inner, **HEAD))


def dpt_beit() -> Any:
    inner = transformers.BeitConfig(**SIXTEEN, out_indices=[1, 2], reshape_hidden_states=False)
    return transformers.DPTForDepthEstimation(
        transformers.DPTConfig(backbone_config=inner, reassemble_factors=[1, 1], **SIXTEEN, **HEAD)
    )


MODELS: dict[str, tuple[Built, tuple[str, dict[str, Any]]]] = {
    "dinov2": (config("Dinov2Model", **DINOV2), BIT),
    "dinov2-classifier": (config("Dinov2ForImageClassification", **DINOV2, num_labels=3), BIT),
    "dinov2_with_registers": (config("Dinov2WithRegistersModel", **DINOV2), BIT),
    "dinov3_vit": (config("DINOv3ViTModel", **SIXTEEN, num_register_tokens=4), DINOV3),
    "dinov3_convnext": (config("DINOv3ConvNextModel", **CONVOLUTIONAL), DINOV3),
    "vit": (config("ViTModel", **SIXTEEN), VIT),
    "vit-classifier": (config("ViTForImageClassification", **SIXTEEN, num_labels=3), VIT),
    "vit_mae": (config("ViTMAEModel", **SIXTEEN), VIT),
    "vit_mae-pretraining": (
        config("ViTMAEForPreTraining", **SIXTEEN, decoder_hidden_size=16, decoder_num_attention_heads=2),
        VIT,
    ),
    "ijepa": (config("IJepaModel", **SIXTEEN), VIT),
    "beit": (config("BeitModel", **SIXTEEN, use_relative_position_bias=True), BEIT),
    "beit-masked": (config("BeitForMaskedImageModeling", **SIXTEEN, use_mask_token=True), BEIT),
    "beit-classifier": (config("BeitForImageClassification", **SIXTEEN, num_labels=3), BEIT),
    "data2vec-vision": (config("Data2VecVisionModel", **SIXTEEN), BEIT),
    "data2vec-classifier": (config("Data2VecVisionForImageClassification", **SIXTEEN, num_labels=3), BEIT),
    "siglip": (config("SiglipModel", text_config=TEXT, vision_config=SIXTEEN), SIGLIP),
    "siglip_vision_model": (config("SiglipVisionModel", **SIXTEEN), SIGLIP),
    "siglip2": (
        config("Siglip2Model", text_config=TEXT, vision_config={**TOKENS, "num_patches": 16, "patch_size": 16}),
        NAFLEX,
    ),
    "siglip2_vision_model": (config("Siglip2VisionModel", **TOKENS, num_patches=16, patch_size=16), NAFLEX),
    "clip": (config("CLIPModel", text_config=TEXT, vision_config=SIXTEEN, projection_dim=24), CLIP),
    "clip_vision_model": (config("CLIPVisionModel", **SIXTEEN), CLIP),
    "CLIPVisionModelWithProjection": (config("CLIPVisionModelWithProjection", **SIXTEEN, projection_dim=24), CLIP),
    "aimv2": (config("Aimv2Model", text_config=TEXT, vision_config=SIXTEEN, projection_dim=24), CLIP),
    "aimv2_vision_model": (config("Aimv2VisionModel", **SIXTEEN), CLIP),
    "aimv2-native": (config("Aimv2VisionModel", **SIXTEEN, is_native=True, use_head=False), CLIP),
    "swin": (config("SwinModel", **SWIN), VIT),
    "swin-classifier": (config("SwinForImageClassification", **SWIN, num_labels=3), VIT),
    "swinv2": (config("Swinv2Model", **SWIN), VIT),
    "convnext": (config("ConvNextModel", **CONVOLUTIONAL), CONVNEXT),
    "convnext-classifier": (config("ConvNextForImageClassification", **CONVOLUTIONAL, num_labels=3), CONVNEXT),
    "convnextv2": (config("ConvNextV2Model", **CONVOLUTIONAL), CONVNEXT),
    "resnet": (config("ResNetModel", embedding_size=8, **CONVOLUTIONAL), CONVNEXT),
    "resnet-classifier": (config("ResNetForImageClassification", embedding_size=8, **CONVOLUTIONAL), CONVNEXT),
    "sam": (config("SamModel", vision_config=SAM), SAM_PROCESSOR),
    "sam_vision_model": (config("SamVisionModel", **SAM), SAM_PROCESSOR),
    "dpt": (config("DPTForDepthEstimation", **SIXTEEN, backbone_out_indices=[0, 0, 1, 1], **FOUR), DPT),
    "dpt-swinv2": (dpt_swin, DPT),
    "dpt-beit": (dpt_beit, DPT),
    "depth_anything": (depth_anything, DEPTH_ANYTHING),
}
"""A model for every row of the table, and for every other form in which its checkpoints come."""
ONE_SIZE = {"sam", "sam_vision_model", "aimv2", "aimv2_vision_model"}
CLASSIFIERS = [name for name in MODELS if name.endswith("classifier")]
WITH_TEXT = ["siglip", "siglip2", "clip", "aimv2"]


def save(folder: Path, name: str) -> Path:
    """A model whose every parameter is drawn at random: zeros and ones of a fresh one would hide a mistake."""
    build, (processor, settings) = MODELS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            for buffer_name, buffer in model.named_buffers():
                if "running_" in buffer_name:
                    buffer.add_(0.3 * torch.rand_like(buffer))
    model.save_pretrained(folder)
    getattr(transformers, processor)(**settings).save_pretrained(folder)
    return folder


def save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[PAD]", "[BOS]", "[EOS]", "[UNK]", "a", "photo", "of", "cat", "dog"]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", eos_token="[EOS]", bos_token="[BOS]"
    ).save_pretrained(folder)
