"""One contest of ``test_embed.py``, in a process of its own: ``python -m tests.benchmarks.embed_contest NAME``.

There shapes are not checked, as with a user: pytest's hook decorates inner functions anew at every call, checks
disabled or not (1.3 ms of a tiny UNet's pass of 4.5 ms, ours alone).
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from backbones.base import Backbone
from backbones.catalogue import load
from tests.feature_fakes import card

PAIRS, TURN_S, BATCH = 40, 0.05, 2

Embed = Callable[[Tensor], Tensor]
Pair = tuple[Backbone, Embed]


def seconds(embed: Embed, images: Tensor, times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        embed(images)
    return (time.perf_counter() - started) / times


def ratio_in_turns(ours: Embed, theirs: Embed, images: Tensor) -> float:
    """Median of our time over theirs; a turn is long enough (50 ms) for the clock and the scheduler."""
    alone = min(seconds(theirs, images, 1) for _ in range(3))
    seconds(ours, images, 3)
    times = max(1, round(TURN_S / alone))
    pairs = []
    for turn in range(PAIRS):
        order = (ours, theirs) if turn % 2 else (theirs, ours)
        taken = {embed: seconds(embed, images, times) for embed in order}
        pairs.append((taken[ours], taken[theirs]))
    ratios = sorted(mine / own for mine, own in pairs)
    mine, own = (1000 * median(each) for each in zip(*pairs, strict=True))
    quarter, three_quarters = ratios[PAIRS // 4], ratios[-PAIRS // 4]
    print(
        f"\nours {mine:.2f} ms, library {own:.2f} ms: {median(ratios):.3f} x "
        f"(half of the pairs from {quarter:.3f} to {three_quarters:.3f})"
    )
    return median(ratios)


def images_for(backbone: Backbone) -> Tensor:
    return torch.randn(BATCH, 3, *backbone.preprocess.size, generator=torch.Generator().manual_seed(0))


def with_weights_of(ours: nn.Module, theirs: Any) -> Any:
    """Both compute from the same memory. What one of them does not have is told by the vectors, which are compared."""
    theirs.load_state_dict(ours.state_dict(), strict=False, assign=True)
    return theirs.eval()


def of_timm(name: str) -> Pair:
    import timm

    backbone: Any = load(f"random:timm:{name}")
    return backbone, with_weights_of(backbone.model, timm.create_model(name, num_classes=0))


def of_torchvision(name: str, head: str) -> Pair:
    import torchvision

    backbone: Any = load(f"random:torchvision:{name}")
    model = with_weights_of(backbone.model, torchvision.models.get_model(name.partition(".")[0], weights=None))
    model.set_submodule(head, nn.Identity())
    return backbone, model


def of_open_clip(name: str, **configuration: Any) -> Pair:
    """Both towers; the tiny ones are made of a configuration, the others are those of a tag."""
    from backbones.adapters import open_clip_models

    if configuration:
        model: Any = open_clip_models.build(name, configuration, None)  # type: ignore[arg-type]
        backbone = open_clip_models.wrap(model, card(name), open_clip_models.preprocess_of(model))
    else:
        backbone = load(f"random:open_clip:{name}")
        model = backbone.model
    return backbone, model.encode_image


TEXT = {"context_length": 77, "vocab_size": 99, "width": 32, "heads": 2, "layers": 1}
TINY_VIT = {"image_size": 64, "layers": 4, "width": 64, "head_width": 32, "patch_size": 16}
TINY_RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8}


def of_huggingface(folder: Path, name: str, read: Callable[[Any], Tensor], **configuration: Any) -> Pair:
    """A folder of a configuration and an image processor is all that an untrained one needs."""
    import transformers

    library = getattr(transformers, name)
    config = library.config_class(**configuration, architectures=[name])
    config.save_pretrained(folder)
    side = 224 if config.image_size >= 224 else config.image_size
    processor = transformers.BitImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    processor.save_pretrained(folder)
    backbone: Any = load(f"random:huggingface:{folder}")
    model = with_weights_of(backbone.model, library(library.config_class(**configuration)))
    return backbone, lambda images: read(model(images))


# of the size of timm's own test models, 160 pixels and 0.3 M parameters
TINY_DINOV2 = {"hidden_size": 64, "num_hidden_layers": 6, "num_attention_heads": 2, "image_size": 154, "patch_size": 14}
TINY_SWIN = {"embed_dim": 24, "depths": [2, 2, 2], "num_heads": [1, 2, 4], "window_size": 7, "image_size": 112}


def small_pipeline(folder: Path) -> Path:
    """Stable Diffusion's shape, narrower: 256 pixels, an autoencoder of 32 to 128 channels, a UNet of 64 to 256."""
    import diffusers

    from tests.backbones.tiny_pipelines import TRAINED_BETAS

    vae = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 64, 128, 128),
        layers_per_block=2,
    )
    unet = diffusers.UNet2DConditionModel(
        sample_size=32, block_out_channels=(64, 128, 256, 256), attention_head_dim=8, cross_attention_dim=768
    )
    for name, part in {"vae": vae, "unet": unet, "scheduler": diffusers.DDIMScheduler(**TRAINED_BETAS)}.items():
        part.save_config(folder / name)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    return folder


def of_diffusers(folder: Path) -> tuple[Backbone, Embed, Embed]:
    """With the library's own UNet that has no way up, whose output is the bottleneck's, and with its whole one."""
    backbone: Any = load(f"random:diffusers:{folder}")
    vae, prompt = backbone.encoder.vae, backbone.denoiser.condition.encoder_hidden_states

    def complete() -> Any:
        unet = backbone.denoiser.model
        return with_weights_of(unet, type(unet).from_config(unet.config))

    def bottleneck(unet: Any) -> Embed:
        def embed(images: Tensor) -> Tensor:
            latents = vae.encode(images).latent_dist.mode() * vae.config.scaling_factor
            steps = torch.zeros(len(images), dtype=torch.long)
            output: Tensor = unet(latents, steps, prompt.expand(len(images), -1, -1)).sample
            return output.mean((2, 3))

        return embed

    cut, whole, seen = complete(), complete(), {}
    cut.up_blocks, cut.conv_norm_out, cut.conv_out = nn.ModuleList(), None, nn.Identity()
    whole.mid_block.register_forward_hook(lambda module, inputs, output: seen.update(bottleneck=output))
    predict = bottleneck(whole)

    def of_the_whole(images: Tensor) -> Tensor:
        predict(images)
        return seen["bottleneck"].mean((2, 3))

    return backbone, bottleneck(cut), of_the_whole


def diffusers_small(folder: Path) -> tuple[Backbone, Embed, Embed]:
    return of_diffusers(small_pipeline(folder))


def diffusers_tiny(folder: Path) -> tuple[Backbone, Embed, Embed]:
    from tests.backbones.tiny_pipelines import save_pipeline

    return of_diffusers(save_pipeline("sd", folder))


PAIRS_OF: dict[str, Callable[[Path], Pair]] = {
    "timm tiny ViT": lambda _: of_timm("test_vit.r160_in1k"),
    "timm tiny ResNet": lambda _: of_timm("test_resnet.r160_in1k"),
    "timm ViT-B/16": lambda _: of_timm("vit_base_patch16_224.augreg_in21k_ft_in1k"),
    "timm ResNet-50": lambda _: of_timm("resnet50.a1_in1k"),
    "torchvision tiny MobileNetV3": lambda _: of_torchvision("mobilenet_v3_small.IMAGENET1K_V1", "classifier.3"),
    "torchvision ResNet-50": lambda _: of_torchvision("resnet50.IMAGENET1K_V2", "fc"),
    "open_clip tiny ViT": lambda _: of_open_clip("ViT-B-32", embed_dim=32, vision_cfg=TINY_VIT, text_cfg=TEXT),
    "open_clip tiny ResNet": lambda _: of_open_clip("RN50", embed_dim=32, vision_cfg=TINY_RESNET, text_cfg=TEXT),
    "open_clip ViT-B-32": lambda _: of_open_clip("ViT-B-32/openai"),
    "open_clip RN50": lambda _: of_open_clip("RN50/openai"),
    "huggingface tiny DINOv2": lambda folder: of_huggingface(
        folder, "Dinov2Model", lambda output: output.pooler_output, **TINY_DINOV2
    ),
    "huggingface tiny Swin": lambda folder: of_huggingface(
        folder, "SwinModel", lambda output: output.pooler_output, **TINY_SWIN
    ),
    # as published: trained at 518 pixels, its position embeddings interpolated at 224
    "huggingface DINOv2-B/14": lambda folder: of_huggingface(
        folder, "Dinov2Model", lambda output: output.pooler_output, image_size=518
    ),
    "huggingface Swin-T": lambda folder: of_huggingface(folder, "SwinModel", lambda output: output.pooler_output),
    "diffusers tiny UNet": lambda folder: diffusers_tiny(folder)[:2],
    "diffusers small UNet": lambda folder: diffusers_small(folder)[:2],
    "diffusers small UNet, whole": lambda folder: diffusers_small(folder)[::2],
}


@torch.inference_mode()
def main(name: str) -> None:
    """Print the ratio as the last line."""
    torch.set_num_threads(1 if "tiny" in name else 2)  # what takes a millisecond waits longer for a second thread
    with tempfile.TemporaryDirectory() as folder:
        backbone, theirs = PAIRS_OF[name](Path(folder))
    images = images_for(backbone)
    torch.testing.assert_close(backbone.embed(images), theirs(images), rtol=1e-4, atol=1e-5)
    print(ratio_in_turns(backbone.embed, theirs, images))


if __name__ == "__main__":
    main(sys.argv[1])
