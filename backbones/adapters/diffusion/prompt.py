"""The empty prompt as a pipeline's own text encoders read it: computed once, when a backbone is loaded.

A diffusion model is trained with its captions left out now and then, so the empty prompt is a condition it knows.
The encoders are dropped afterwards: they say nothing of an image.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from backbones.adapters.diffusion.folder import PipelineFolder

PROMPT = ""

Tokens = Int[Tensor, "1 tokens"]
Hidden = Float[Tensor, "1 tokens dim"]


def encode_last(pipeline: PipelineFolder) -> Hidden:
    """The last hidden state of one CLIP text encoder (Stable Diffusion 1.x, 2.x)."""
    encoder, tokens, attended = _encoder_and_tokens(pipeline, "text_encoder", "tokenizer")
    with torch.no_grad():
        mask = attended if getattr(encoder.config, "use_attention_mask", False) else None
        hidden: Tensor = encoder(tokens, attention_mask=mask)[0]
    return hidden


def encode_penultimate(pipeline: PipelineFolder) -> tuple[Hidden, Float[Tensor, "1 pooled"]]:
    """The last but one hidden states of two CLIP text encoders side by side, and the second's pooled output (SDXL).

    The words "no prompt" mean the empty text here; SDXL's pipeline puts zeros for a *negative* prompt left out.
    """
    parts = [("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")]
    hidden = []
    for part, tokenizer in parts:
        encoder, tokens, _ = _encoder_and_tokens(pipeline, part, tokenizer)
        with torch.no_grad():
            output = encoder(tokens, output_hidden_states=True)
        hidden.append(output.hidden_states[-2])
    pooled: Tensor = output[0]
    return torch.cat(hidden, dim=-1), pooled


def encode_masked(pipeline: PipelineFolder, length: int) -> tuple[Hidden, Tokens]:
    """The last hidden state of a T5 encoder over ``length`` tokens, and which of them are text (PixArt)."""
    encoder, tokens, attended = _encoder_and_tokens(pipeline, "text_encoder", "tokenizer", length)
    with torch.no_grad():
        hidden: Tensor = encoder(tokens, attention_mask=attended)[0]
    return hidden, attended


def _encoder_and_tokens(
    pipeline: PipelineFolder, part: str, tokenizer: str, length: int | None = None
) -> tuple[Any, Tokens, Tokens]:
    encoder = _text_encoder(pipeline, part)
    reader = pipeline.call(tokenizer, lambda folder: _tokenizer(folder, type(encoder).__name__))
    length = length or reader.model_max_length
    read = reader(PROMPT, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    return encoder, read.input_ids, read.attention_mask


def _text_encoder(pipeline: PipelineFolder, part: str) -> nn.Module:
    import transformers

    if not pipeline.has(part):
        raise FileNotFoundError(
            f"diffusers:{pipeline.reference}: no {part} in {pipeline.path}: without it the empty prompt that the "
            "denoiser needs cannot be encoded; save the whole pipeline (tokenizer and text encoders too)"
        )
    known = ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel")
    named = next(iter(pipeline.config(part).get("architectures") or ["none"]))
    if named not in known:
        raise ValueError(f"diffusers:{pipeline.reference}: {part} is a {named}; known are {', '.join(known)}")
    progress: Any = transformers.utils.logging
    bars = progress.is_progress_bar_enabled()
    progress.disable_progress_bar()
    try:
        return pipeline.read(getattr(transformers, named), part)
    finally:
        if bars:
            progress.enable_progress_bar()


def _tokenizer(folder: Any, encoder: str) -> Any:
    import transformers

    if encoder == "T5EncoderModel":  # its class has another name in each generation of the library
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return transformers.CLIPTokenizer.from_pretrained(folder, local_files_only=True)
