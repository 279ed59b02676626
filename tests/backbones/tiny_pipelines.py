"""Pipelines of diffusers' own classes with random weights, made in a second and saved as it saves them."""

import json
from pathlib import Path
from typing import Any

import diffusers
import tokenizers
import torch
import transformers
from torch import nn

KINDS = ("sd", "sd2", "sdxl", "dit", "pixart")
WORDS = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a": 2, "b": 3, "a</w>": 4, "b</w>": 5}
TRAINED_BETAS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}


def save_pipeline(kind: str, folder: Path) -> Path:
    """Save one below ``folder``; where it lies."""
    path = folder / kind
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, part in _parts(kind).items():
            part.save_pretrained(path / name)
    for name in ("tokenizer", "tokenizer_2")[: {"sdxl": 2, "dit": 0}.get(kind, 1)]:
        (_save_words if kind == "pixart" else _save_clip_words)(path / name)
    (path / "model_index.json").write_text(json.dumps({"_class_name": "Pipeline"}))
    return path


def _parts(kind: str) -> dict[str, Any]:
    vae = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        norm_num_groups=4,
        sample_size=64,
    )
    parts: dict[str, Any] = {"vae": _alive(vae), "scheduler": _scheduler(kind), **_denoiser(kind)}
    if kind == "pixart":
        parts["text_encoder"] = transformers.T5EncoderModel(
            transformers.T5Config(vocab_size=8, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
        )
    elif kind != "dit":
        parts["text_encoder"] = transformers.CLIPTextModel(_clip(16))
    if kind == "sdxl":
        parts["text_encoder_2"] = transformers.CLIPTextModelWithProjection(_clip(24))
    return parts


def _scheduler(kind: str) -> Any:
    sampler = {"sdxl": diffusers.EulerDiscreteScheduler, "sd": diffusers.PNDMScheduler, "dit": diffusers.DDIMScheduler}
    return sampler.get(kind, diffusers.DPMSolverMultistepScheduler)(**TRAINED_BETAS)


def _denoiser(kind: str) -> dict[str, nn.Module]:
    if kind in ("dit", "pixart"):
        size = {"num_attention_heads": 2, "attention_head_dim": 24, "num_layers": 4, "sample_size": 8}
        if kind == "dit":
            transformer = diffusers.DiTTransformer2DModel(**size, num_embeds_ada_norm=5)
        else:
            transformer = diffusers.PixArtTransformer2DModel(
                **size, cross_attention_dim=48, caption_channels=16, use_additional_conditions=True
            )
        return {"transformer": _alive(transformer)}
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, layers_per_block=1, attention_head_dim=8, norm_num_groups=8, **_levels(kind)
    )
    return {"unet": _alive(unet)}


def _levels(kind: str) -> dict[str, Any]:
    if kind == "sdxl":
        return {
            "block_out_channels": (32, 64, 64),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 1, 2),
            "cross_attention_dim": 40,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 24 + 6 * 8,
        }
    return {
        "block_out_channels": (32, 64, 64, 64),
        "cross_attention_dim": 16,
        "use_linear_projection": kind == "sd2",
    }


def _alive(module: nn.Module) -> nn.Module:
    """Every parameter off its initial value, of which some are zero by design: a dead branch could not be told."""
    for parameter in module.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return module


def _clip(width: int) -> Any:
    return transformers.CLIPTextConfig(
        vocab_size=len(WORDS),
        hidden_size=width,
        intermediate_size=width,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


def _save_clip_words(folder: Path) -> None:
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(WORDS))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"model_max_length": 77, "tokenizer_class": "CLIPTokenizer", "pad_token": "<|endoftext|>"})
    )


def _save_words(folder: Path) -> None:
    words = tokenizers.Tokenizer(tokenizers.models.Unigram([("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)], unk_id=2))
    words.post_processor = tokenizers.processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
