"""Latent diffusion models as diffusers saves them: ``diffusers:REPO``, ``diffusers:REPO@REVISION``, or a folder.

The image goes through the autoencoder's encoder and the denoiser up to the block that is read; the blocks after it are
not executed. Which block, timestep and noise an embedding takes is said in ``unet`` and
``transformer``. Images are resized bicubically and cut about their centre, as the models' training did.
"""

import json
import math
import re
from typing import Any

import diffusers
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from backbones.adapters.diffusion.denoiser import Denoiser, read_modules
from backbones.adapters.diffusion.folder import PipelineFolder, find_pipeline
from backbones.adapters.diffusion.latents import NOISE_SEED, LatentEncoder, NoiseSchedule, noise_schedule
from backbones.adapters.diffusion.prompt import PROMPT
from backbones.adapters.diffusion.transformer import transformer_denoiser
from backbones.adapters.diffusion.unet import unet_denoiser
from backbones.adapters.maps import Map
from backbones.base import Backbone, Card, Preprocess
from backbones.catalogue import entries
from backbones.places import Places
from backbones.weights import weights_sha256

SOURCE = f"diffusers {diffusers.__version__}"
READOUT = re.compile(r"t(?P<timestep>\d+)-(?P<clean>clean-)?(?P<block>\w+)/mean")

Images = Float[Tensor, "batch 3 height width"]


class DiffusionBackbone(Backbone):
    """Encoder of the autoencoder and denoiser; its embedding is the first of ``readouts``."""

    def __init__(self, encoder: LatentEncoder, denoiser: Denoiser, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.encoder, self.denoiser, self.schedule = encoder, denoiser, schedule
        self.readouts = denoiser.readouts()
        self.eval()

    def embed(self, images: Images) -> Float[Tensor, "batch dim"]:
        """The mean over positions of the denoiser's default block at t = 0, without noise."""
        return self.read(images, self.readouts[0])

    def read(self, images: Images, readout: str) -> Float[Tensor, "batch dim"]:
        """``t{T}-{block}/mean``, noised as at timestep T; ``t{T}-clean-{block}/mean`` tells T but adds no noise.

        Beside those declared, any block at any timestep of the schedule is taken. Raises ``ValueError`` otherwise.
        """
        timestep, clean, block = self._parsed(readout)
        return self._maps(images, timestep, clean, [block])[block].mean((2, 3))

    def feature_maps(self, images: Images) -> dict[int, Map]:
        """At t = 0 without noise: of a UNet the levels on the way down, of a transformer its default block.

        A UNet's pyramid starts with the autoencoder's own map at half the latents' stride, as in the 2023 study.
        """
        strides = self.denoiser.pyramid()
        maps: dict[str, Tensor] = {}

        def run() -> None:
            maps.update(self._maps(images, 0, True, list(strides)))

        encoded = read_modules({"finest": self.encoder.finest} if len(strides) > 1 else {}, run, stop=False)
        pyramid = {self.encoder.stride // 2: encoded["finest"]} if encoded else {}
        pyramid |= {stride * self.encoder.stride: maps[block] for block, stride in strides.items()}
        height, width = images.shape[-2:]
        return {
            stride: each[..., : math.ceil(height / stride), : math.ceil(width / stride)]
            for stride, each in pyramid.items()
        }

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """What an embedding takes: the encoder's blocks, then the denoiser's up to the default one."""
        groups = [*self.encoder.groups(), *self.denoiser.groups()]
        return [
            (f"{depth} {name}", [parameter for module in modules for parameter in module.parameters()])
            for depth, (name, modules) in enumerate(groups)
        ]

    def _maps(self, images: Images, timestep: int, clean: bool, blocks: list[str]) -> dict[str, Map]:
        latents = self.encoder(_whole(images, self.encoder.stride * self.denoiser.patch))
        noised = latents if clean else self.schedule.noised(latents, timestep)
        timesteps = torch.full((images.shape[0],), timestep, dtype=torch.long, device=images.device)
        maps: dict[str, Map] = self.denoiser(noised, timesteps, blocks)
        return maps

    def _parsed(self, readout: str) -> tuple[int, bool, str]:
        named = READOUT.fullmatch(readout)
        steps = len(self.schedule.kept)
        if named is None or named["block"] not in self.denoiser.blocks or int(named["timestep"]) >= steps:
            raise ValueError(
                f"{self.card.name} has no readout {readout!r}; write t{{T}}-BLOCK/mean or t{{T}}-clean-BLOCK/mean with "
                f"T below {steps} and BLOCK one of {', '.join(self.denoiser.blocks)}"
            )
        return int(named["timestep"]), named["clean"] is not None, named["block"]


def load(reference: str, places: Places) -> Backbone:
    """Load a pipeline's folder, or a repository from the hub's cache or the network.

    Raises ``ValueError`` for a pipeline of another kind or weights that do not fit, ``OSError`` where there are none.
    """
    from diffusers import AutoencoderKL

    pipeline = find_pipeline(reference, places)
    denoiser = _denoiser(pipeline, weights=True)
    return _wrap(pipeline, pipeline.read(AutoencoderKL, "vae"), denoiser)


def untrained(reference: str, places: Places) -> Backbone:
    """The same architecture and preprocessing as the library initialises it, its prompt drawn at random too.

    Needs the configs alone.
    """
    from diffusers import AutoencoderKL

    pipeline = find_pipeline(reference, places, weights=False)
    denoiser = _denoiser(pipeline, weights=False)
    return _wrap(pipeline, pipeline.build(AutoencoderKL, "vae"), denoiser)


def image_size(pipeline: PipelineFolder) -> int:
    """The side of the (square) images a pipeline was trained on, in pixels.

    Raises ``ValueError`` where none is said.
    """
    part = denoiser_part(pipeline)
    size = pipeline.config(part).get("sample_size")
    side = min(size) if isinstance(size, list | tuple) and size else size
    if not isinstance(side, int):
        raise ValueError(f"diffusers:{pipeline.reference}: {part}/config.json states no sample_size, but {size!r}")
    halvings = len(pipeline.config("vae").get("block_out_channels", ())) - 1
    return side << max(halvings, 0)


def denoiser_part(pipeline: PipelineFolder) -> str:
    """``unet`` or ``transformer``, whichever the pipeline has."""
    return "transformer" if pipeline.has("transformer") else "unet"


def _denoiser(pipeline: PipelineFolder, weights: bool) -> Denoiser:
    part = denoiser_part(pipeline)
    _check_parts(pipeline, part)
    make = {"unet": unet_denoiser, "transformer": transformer_denoiser}[part]
    return make(pipeline, image_size(pipeline), weights)


def _check_parts(pipeline: PipelineFolder, part: str) -> None:
    config, vae = pipeline.config(part), pipeline.config("vae")
    if vae.get("_class_name") != "AutoencoderKL" or vae.get("latents_mean") is not None:
        raise ValueError(
            f"diffusers:{pipeline.reference}: its autoencoder is a {vae.get('_class_name')}; known is AutoencoderKL "
            "with one scaling factor (no latents_mean)"
        )
    wanted, given = config.get("in_channels"), vae.get("latent_channels")
    if wanted != given:
        raise ValueError(
            f"diffusers:{pipeline.reference}: its {part} takes {wanted} channels, the autoencoder gives {given}: "
            "a model that wants more than an image (inpainting, depth, an edit) is not supported"
        )


def _wrap(pipeline: PipelineFolder, vae: nn.Module, denoiser: Denoiser) -> Backbone:
    schedule = noise_schedule(pipeline.config("scheduler"), pipeline.reference)
    backbone = DiffusionBackbone(LatentEncoder(vae), denoiser, schedule)
    side = image_size(pipeline)
    half = (0.5, 0.5, 0.5)
    backbone.preprocess = Preprocess((side, side), side, "center", "bicubic", mean=half, std=half)
    backbone.card = _card(pipeline, backbone)
    return backbone


def _card(pipeline: PipelineFolder, backbone: DiffusionBackbone) -> Card:
    name = f"diffusers:{pipeline.reference}"
    # A commit may pin what the catalogue knows by its repository alone.
    known = next((each for each in entries() if each.name == name.partition("@")[0]), None)
    kind = type(backbone.denoiser.model).__name__
    return Card(
        name=name,
        family="diffusion",
        architecture=f"AutoencoderKL encoder, {kind} to {backbone.denoiser.default}",
        parameters=sum(parameter.numel() for _, group in backbone.layers() for parameter in group),
        pretraining_method=known.pretraining_method if known else backbone.denoiser.method,
        pretraining_data=known.pretraining_data if known else "unknown",
        source=SOURCE,
        revision=pipeline.revision,
        licence=known.licence if known else "unknown",
        weights_sha256=weights_sha256(backbone, _built_as(pipeline, backbone)),
    )


def _built_as(pipeline: PipelineFolder, backbone: DiffusionBackbone) -> str:
    """Every number of the configs (heads, groups, the noise's betas), and what is read of it all."""
    configs: dict[str, Any] = {
        part: {name: value for name, value in sorted(pipeline.config(part).items()) if not name.startswith("_")}
        for part in ("vae", denoiser_part(pipeline), "scheduler")
    }
    kind = type(backbone.denoiser.model).__name__
    read = {"readout": backbone.readouts[0], "noise_seed": NOISE_SEED, "prompt": PROMPT}
    return f"diffusers {kind} {json.dumps({**configs, **read}, sort_keys=True)}"


def _whole(images: Images, multiple: int) -> Float[Tensor, "batch 3 rows columns"]:
    """Images whose edge is repeated to the right and below until no latent is cut; most need none."""
    down, right = (-side % multiple for side in images.shape[-2:])
    return pad(images, (0, right, 0, down), mode="replicate") if down or right else images


ADAPTERS = {"diffusers": load}
UNTRAINED = {"diffusers": untrained}
