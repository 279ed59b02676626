"""Latent diffusion models against diffusers' own whole forward pass, on tiny pipelines of its own classes, offline."""

import json
import math
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import huggingface_hub
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from backbones.adapters.diffusion import models
from backbones.adapters.diffusion.latents import fixed_noise
from backbones.adapters.diffusion.models import DiffusionBackbone
from backbones.base import Readable, freeze
from backbones.catalogue import entries, load
from backbones.places import Places
from backbones.preprocessing import reference_transform
from backbones.reference import REFERENCES
from backbones.weights import weights_sha256
from tests.backbones.full_size_denoisers import denoiser, flops, saved
from tests.backbones.tiny_pipelines import KINDS, TRAINED_BETAS, save_pipeline

Load = Callable[[str], DiffusionBackbone]
UNLIKE = [kind for kind in KINDS if kind != "sd2"]  # which differs from "sd" in one layer's shape
EXACT = 1e-5
"""Relative to the root mean square. Seen: 0, the same operations in the same order."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small only make threads wait for each other: a third of the time on two busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipelines")
    for kind in KINDS:
        save_pipeline(kind, path)
    return path


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Load:
    return cache(lambda kind: _load(folder / kind))


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A pipeline to damage."""
    return lambda kind: Path(shutil.copytree(folder / kind, tmp_path / kind))


def _load(path: Path) -> DiffusionBackbone:
    backbone = freeze(load(f"diffusers:{path}"))
    assert isinstance(backbone, DiffusionBackbone)
    return backbone


def images(batch: int = 2, height: int = 64, width: int = 64) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


def relative(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.square().mean().sqrt())


@pytest.mark.parametrize(
    ("kind", "size"),
    [*((kind, (64, 64)) for kind in KINDS), ("sd", (96, 160)), ("pixart", (96, 160)), ("dit", (96, 96))],
)
def test_features_are_those_of_the_librarys_whole_pass(
    kind: str, size: tuple[int, int], folder: Path, loaded: Load
) -> None:
    backbone, batch = loaded(kind), images(2, *size)
    reference = REFERENCES.load("diffusers")(str(folder / kind), Places())
    with torch.no_grad():
        assert relative(backbone.embed(batch), reference.embed(batch)) < EXACT
        maps, expected = backbone.feature_maps(batch), reference.feature_maps(batch)
    strides = {"sdxl": [4, 8, 16, 32], "dit": [16], "pixart": [16]}.get(kind, [4, 8, 16, 32, 64])
    assert list(maps) == strides == sorted(expected)
    assert all(relative(each, expected[stride]) < EXACT for stride, each in maps.items())


@pytest.mark.parametrize("size", [(80, 64), (61, 50)])
def test_images_become_what_the_librarys_processor_makes_of_them(
    size: tuple[int, int], folder: Path, loaded: Load
) -> None:
    backbone = loaded("sd")
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((size[1] * 3, size[0] * 3), Image.Resampling.BICUBIC)
    reference = REFERENCES.load("diffusers")(str(folder / "sd"), Places())
    expected = reference.transform(image)
    torch.testing.assert_close(reference_transform(backbone.preprocess)(image), expected, rtol=0, atol=1e-6)
    assert expected.shape == (3, 64, 64)
    assert -1 <= expected.min() < -0.2 < 0.2 < expected.max() <= 1


@pytest.mark.parametrize("kind", ["sd", "sdxl", "dit"])
def test_every_block_at_a_timestep_is_what_a_hook_on_the_whole_pass_sees(kind: str, folder: Path, loaded: Load) -> None:
    backbone, batch = loaded(kind), images()
    latents = _library(folder / kind, diffusers.AutoencoderKL, "vae").encode(batch).latent_dist.mean * 0.18215
    noise = torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(0)).expand_as(latents)
    steps = torch.full((2,), 100)
    noised = diffusers.DDPMScheduler(**TRAINED_BETAS).add_noise(latents, noise, steps)
    for name, input_latents in {"t100": noised, "t100-clean": latents}.items():
        for block, expected in _outputs(folder / kind, backbone, input_latents, steps).items():
            assert relative(backbone.read(batch, f"{name}-{block}/mean"), expected) < EXACT, (name, block)


def _library(folder: Path, kind: Any, part: str) -> Any:
    return kind.from_pretrained(folder / part, low_cpu_mem_usage=False).eval()


def _outputs(folder: Path, backbone: DiffusionBackbone, latents: Tensor, steps: Tensor) -> dict[str, Tensor]:
    """The mean of each block's output in the whole model, by the names that readouts use."""
    if (folder / "transformer").exists():
        model = _library(folder, diffusers.DiTTransformer2DModel, "transformer")
        blocks = {f"block{index}": block for index, block in enumerate(model.transformer_blocks)}
        arguments: dict[str, Any] = {"timestep": steps, "class_labels": torch.full((2,), 5)}
    else:
        model = _library(folder, diffusers.UNet2DConditionModel, "unet")
        ways = {"down": model.down_blocks, "up": model.up_blocks}
        blocks = {f"{way}{index}": block for way in ways for index, block in enumerate(ways[way])}
        blocks["mid"] = model.mid_block
        condition = {name: tensor.expand(2, *tensor.shape[1:]) for name, tensor in _condition(backbone).items()}
        text = condition.pop("encoder_hidden_states")
        arguments = {"timestep": steps, "encoder_hidden_states": text, "added_cond_kwargs": condition}
    assert set(blocks) == set(backbone.denoiser.blocks)
    seen: dict[str, Tensor] = {}
    for name, block in blocks.items():
        block.register_forward_hook(lambda _, __, output, name=name: seen.update({name: _mean(output)}))
    with torch.no_grad():
        model(latents, **arguments)
    return seen


def _mean(output: Any) -> Tensor:
    """Of a level on the way down: of what it hands across the network, its last before the halving."""
    if isinstance(output, tuple):
        cross = output[1]
        output = cross[-2] if len(cross) > 1 else cross[-1]
    return output.mean((2, 3)) if output.ndim == 4 else output.mean(1)


def _condition(backbone: DiffusionBackbone) -> dict[str, Tensor]:
    return dict(backbone.denoiser.condition.named_buffers())


@pytest.mark.parametrize("kind", UNLIKE)
def test_same_vector_again_alone_and_in_a_batch(kind: str, loaded: Load) -> None:
    backbone, batch = loaded(kind), images(3)
    before = weights_sha256(backbone)
    for readout in backbone.readouts[:2]:
        together = backbone.read(batch, readout)
        assert torch.equal(backbone.read(batch, readout), together)
        alone = torch.cat([backbone.read(image[None], readout) for image in batch])
        torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)
    assert torch.equal(backbone(batch), backbone.read(batch, backbone.readouts[0]))
    assert weights_sha256(backbone) == before
    assert not any(module.training for module in backbone.modules())


@pytest.mark.parametrize("kind", UNLIKE)
@pytest.mark.parametrize("size", [(224, 224), (161, 230)])
def test_maps_of_any_size_are_the_image_over_the_stride_rounded_up(
    kind: str, size: tuple[int, int], loaded: Load
) -> None:
    for stride, features in loaded(kind).feature_maps(images(1, *size)).items():
        assert features.shape[2:] == (math.ceil(size[0] / stride), math.ceil(size[1] / stride))
        assert features.isfinite().all()


@pytest.mark.parametrize("kind", UNLIKE)
def test_layers_are_what_an_embedding_executes_and_all_learn(kind: str, folder: Path) -> None:
    backbone = load(f"diffusers:{folder / kind}")
    layers = backbone.layers()
    grouped = [parameter for _, group in layers for parameter in group]
    assert len({name for name, _ in layers}) == len(layers)
    assert len({id(parameter) for parameter in grouped}) == len(grouped)
    assert backbone.card.parameters == sum(parameter.numel() for parameter in grouped)
    backbone.embed(images(1, 128, 128)).square().sum().backward()  # at 64 attention has one position: no gradient
    inside = {id(parameter) for parameter in grouped}
    for name, parameter in backbone.named_parameters():
        assert (parameter.grad is not None) == (id(parameter) in inside), name
    assert all(parameter.grad.abs().sum() > 0 for parameter in grouped if parameter.grad is not None)


def test_layers_go_from_the_image_to_the_block(loaded: Load) -> None:
    names = [name.partition(" ")[2] for name, _ in loaded("sdxl").layers()]
    downs = [f"vae.down{level}" for level in range(4)]
    levels = [f"unet.down{level}" for level in range(3)]
    assert names == ["vae.conv_in", *downs, "vae.mid", "vae.out", "unet.conv_in", *levels, "unet.mid"]
    assert [name.partition(" ")[2] for name, _ in loaded("dit").layers()][-2:] == [
        "transformer.block0",
        "transformer.block1",
    ]


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_prompt_is_encoded_once_and_its_encoder_is_gone(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    inside: list[str] = []  # one of them holds another
    for encoder in (transformers.CLIPTextModel, transformers.CLIPTextModelWithProjection):
        forward = encoder.forward

        def counted(self: Any, *given: Any, forward: Any = forward, **named: Any) -> Any:
            calls.extend([] if inside else [type(self).__name__])
            inside.append("")
            output = forward(self, *given, **named)
            inside.pop()
            return output

        monkeypatch.setattr(encoder, "forward", counted)
    backbone = _load(folder / kind)
    for _ in range(2):
        backbone.embed(images())
        backbone.feature_maps(images())
    assert calls == ["CLIPTextModel", "CLIPTextModelWithProjection"][: 1 + (kind == "sdxl")]
    assert not any(type(module).__module__.startswith("transformers.") for module in backbone.modules())
    assert not any("decoder" in name or "conv_out" in name for name, _ in backbone.denoiser.named_modules())
    assert not any("decoder" in name for name, _ in backbone.named_modules())
    assert "denoiser.condition.encoder_hidden_states" in backbone.state_dict()


SAVED = {
    "sd15": {"down2": 0.70, "mid": 0.67, "up0": 0.64, "up1": 0.45},
    "sdxl": {"down2": 0.68, "mid": 0.56, "up0": 0.20},
    "dit-xl-2": {"block6": 0.74, "block13": 0.49, "block19": 0.28},
}
"""Least part of the whole denoiser's operations that is not executed, by the block that is read."""


@pytest.mark.parametrize("name", ["sd15", "dit-xl-2", pytest.param("sdxl", marks=pytest.mark.slow)])
def test_blocks_after_the_one_read_are_not_executed_at_full_size(name: str) -> None:
    found, default = saved(name, SAVED[name]), denoiser(name).default
    assert default in found
    assert all(least <= found[block] < least + 0.02 for block, least in SAVED[name].items()), found
    assert found[default] >= 0.4


@pytest.mark.parametrize("kind", KINDS)
def test_embedding_saves_operations_of_a_tiny_pipeline_too(kind: str, loaded: Load) -> None:
    backbone = loaded(kind)
    last = backbone.denoiser.blocks[-1]
    latents, steps = torch.zeros(1, 4, 8, 8), torch.zeros(1, dtype=torch.long)
    operations = [flops(lambda b=b: backbone.denoiser(latents, steps, [b])) for b in (backbone.denoiser.default, last)]
    assert operations[0] <= 0.6 * operations[1]


def test_parameters_are_those_the_2023_study_counted() -> None:
    executed = [p for _, modules in denoiser("sd15").groups() for m in modules for p in m.parameters()]
    assert round(sum(parameter.numel() for parameter in executed) / 1e6, 1) == 348.7


def test_noise_is_one_draw_a_size_and_none_at_the_start(loaded: Load) -> None:
    backbone = loaded("sd")
    batch = images(1).repeat(2, 1, 1, 1)
    torch.testing.assert_close(*backbone.read(batch, "t200-mid/mean"), rtol=1e-4, atol=1e-5)
    assert torch.equal(backbone.read(batch, "t0-mid/mean"), backbone.read(batch, "t0-clean-mid/mean"))
    assert relative(backbone.read(batch, "t200-mid/mean"), backbone.read(batch, "t200-clean-mid/mean")) > 0.01
    wide = fixed_noise(torch.zeros(1, 4, 64, 128))
    assert (float(wide.mean()), float(wide.std())) == (pytest.approx(0, abs=0.02), pytest.approx(1, abs=0.02))


def test_readouts_are_declared_with_the_most_promising_first(loaded: Load) -> None:
    backbone = loaded("sd")
    assert isinstance(backbone, Readable)
    assert backbone.readouts[:2] == ("t0-mid/mean", "t100-up1/mean")
    assert loaded("sdxl").readouts[:2] == ("t0-mid/mean", "t100-up0/mean")
    assert loaded("dit").readouts[0] == "t0-block1/mean"
    for kind in KINDS:
        readouts = loaded(kind).readouts
        assert len(set(readouts)) == len(readouts) >= 16
        assert all(loaded(kind).read(images(1), each).isfinite().all() for each in readouts)
    assert backbone.read(images(), "t999-up3/mean").shape == (2, 32)
    for wrong in ("mid", "t1000-mid/mean", "t0-up4/mean", "t0-mid/max", "t0-dirty-mid/mean"):
        with pytest.raises(ValueError, match=r"no readout .*below 1000 .*down0, .*mid, up0"):
            backbone.read(images(), wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_card_says_what_was_loaded(kind: str, folder: Path, loaded: Load) -> None:
    card = loaded(kind).card
    assert (card.family, card.pretraining_data, card.licence) == ("diffusion", "unknown", "unknown")
    assert card.architecture.startswith("AutoencoderKL encoder, ")
    assert (card.name, card.revision) == (f"diffusers:{folder / kind}", "unknown")
    assert _load(folder / kind).card == card


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae", "scheduler"])
def test_identity_covers_every_part(part: str, copied: Callable[[str], Path], loaded: Load) -> None:
    path = copied("sd")
    if part == "scheduler":
        config = path / part / "scheduler_config.json"
        config.write_text(config.read_text().replace("0.00085", "0.001"))
    else:
        file = next((path / part).glob("*.safetensors"))
        save_file({name: tensor * 1.01 for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    assert _load(path).card.weights_sha256 != loaded("sd").card.weights_sha256


def test_saved_weights_come_back_the_same(loaded: Load, folder: Path, tmp_path: Path) -> None:
    backbone = loaded("sdxl")
    save_file(backbone.state_dict(), tmp_path / "all.safetensors")
    other = load(f"random:diffusers:{folder / 'sdxl'}")
    assert weights_sha256(other) != weights_sha256(backbone)
    other.load_state_dict(load_file(tmp_path / "all.safetensors"))
    assert weights_sha256(other) == weights_sha256(backbone)
    assert torch.equal(other.embed(images()), backbone.embed(images()))


@pytest.mark.parametrize("kind", UNLIKE)
def test_random_twin_needs_no_weights(kind: str, copied: Callable[[str], Path], loaded: Load) -> None:
    path = copied(kind)
    for file in [*path.rglob("*.safetensors"), *path.rglob("tokenizer*/*")]:
        file.unlink()
    twin, other = load(f"random:diffusers:{path}"), load(f"random:diffusers:{path}@1")
    assert twin.card.weights_sha256 != other.card.weights_sha256
    assert (twin.card.parameters, twin.preprocess) == (loaded(kind).card.parameters, loaded(kind).preprocess)
    assert twin.embed(images()).isfinite().all()


def test_older_names_and_sharded_or_half_precision_files_are_read(copied: Callable[[str], Path], loaded: Load) -> None:
    path = copied("dit")
    config = path / "transformer" / "config.json"
    config.write_text(config.read_text().replace("DiTTransformer2DModel", "Transformer2DModel"))
    assert torch.equal(_load(path).embed(images()), loaded("dit").embed(images()))

    path = copied("sd")
    file = path / "unet" / "diffusion_pytorch_model.safetensors"
    _library(path, diffusers.UNet2DConditionModel, "unet").save_pretrained(path / "unet", max_shard_size="300KB")
    file.unlink()
    assert len(list(file.parent.glob("*-of-*.safetensors"))) > 1
    assert _load(path).card.weights_sha256 == loaded("sd").card.weights_sha256

    file = path / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    half = _load(path)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float32}
    assert relative(half.embed(images()), loaded("sd").embed(images())) < 0.05


def _edit(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def _reweigh(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    file = path / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, {"format": "pt"})


class _OpenedError(Exception):
    """A pickle was read."""


def _raise() -> None:
    raise _OpenedError


class _Hostile:
    def __reduce__(self) -> Any:
        return _raise, ()


def _pickled(path: Path) -> None:
    (path / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (path / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(_Hostile()))


WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no text encoder": (lambda p: shutil.rmtree(p / "text_encoder"), "no text_encoder in .*empty prompt"),
    "no tokenizer": (lambda p: shutil.rmtree(p / "tokenizer"), "cannot read .*tokenizer"),
    "no unet": (lambda p: shutil.rmtree(p / "unet"), r"no unet/config\.json"),
    "no scheduler": (lambda p: shutil.rmtree(p / "scheduler"), r"no scheduler/scheduler_config\.json"),
    "no weights": (lambda p: (p / WEIGHTS).unlink(), "cannot read .*unet.*save_pretrained"),
    "only a pickle": (_pickled, "cannot read .*unet"),
    "half a file": (lambda p: (p / WEIGHTS).write_bytes((p / WEIGHTS).read_bytes()[:5000]), "cannot read .*unet"),
    "a lying header": (lambda p: (p / WEIGHTS).write_bytes(b"\xff" * 64), "cannot read .*unet"),
    "half a config": (lambda p: (p / "unet/config.json").write_text('{"a": '), r"config\.json is damaged"),
    "a weight less": (lambda p: _reweigh(p, lambda w: w.pop("conv_in.weight")), "1 missing .*conv_in.weight"),
    "a weight more": (lambda p: _reweigh(p, lambda w: w.update(x=torch.ones(1))), "1 without a place .*: x"),
    "another shape": (
        lambda p: _reweigh(p, lambda w: w.update({"conv_in.bias": torch.ones(7)})),
        "cannot read .*size mismatch",
    ),
    "inpainting": (lambda p: _edit(p / "unet/config.json", in_channels=9), "takes 9 channels, .* gives 4"),
    "an upscaler": (lambda p: _edit(p / "unet/config.json", num_class_embeds=1000), "more than a prompt"),
    "image prompts": (lambda p: _edit(p / "unet/config.json", addition_embed_type="image"), "more than a prompt"),
    "no size": (lambda p: _edit(p / "unet/config.json", sample_size=None), "states no sample_size"),
    "flow": (
        lambda p: (p / "scheduler/scheduler_config.json").write_text('{"_class_name": "FlowMatch"}'),
        "FlowMatch states no beta_start",
    ),
    "autoencoder": (lambda p: _edit(p / "vae/config.json", _class_name="AutoencoderDC"), "is a AutoencoderDC"),
    "text of another kind": (
        lambda p: _edit(p / "text_encoder/config.json", architectures=["RobertaModel"]),
        "is a RobertaModel; known are CLIPTextModel",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_cannot_be_read_is_said_in_one_line(damage: str, copied: Callable[[str], Path]) -> None:
    path = copied("sd")
    make, answer = DAMAGES[damage]
    make(path)
    with pytest.raises((ValueError, OSError), match=answer) as caught:
        load(f"diffusers:{path}")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_unknown_transformers_and_names_that_are_neither_folder_nor_repository(
    copied: Callable[[str], Path],
) -> None:
    path = copied("dit")
    _edit(path / "transformer/config.json", _class_name="FluxTransformer2DModel")
    with pytest.raises(ValueError, match="is a FluxTransformer2DModel; known are DiT"):
        load(f"diffusers:{path}")
    with pytest.raises(FileNotFoundError, match=r"no such folder .*no name of a hub repository"):
        load("diffusers:stable-diffusion")
    with pytest.raises(ValueError, match="is a file; name the folder"):
        load(f"diffusers:{path / 'model_index.json'}")


def _answer(kind: type[Exception]) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        if issubclass(kind, huggingface_hub.errors.HfHubHTTPError):
            raise kind("several\nlines", response=SimpleNamespace(headers={}, request=None))
        raise kind("several\nlines")

    return fail


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (huggingface_hub.errors.GatedRepoError, "some/model@v1 is gated: accept its licence at .*hf auth login"),
        (huggingface_hub.errors.RevisionNotFoundError, "some/model@v1: no such revision"),
        (huggingface_hub.errors.RepositoryNotFoundError, "some/model@v1: no such repository"),
        (huggingface_hub.errors.LocalEntryNotFoundError, "cannot fetch .*hf download some/model --revision v1"),
        (ConnectionError, "cannot fetch .*hf download some/model --revision v1"),
    ],
)
def test_repository_that_cannot_be_had_says_what_to_do(
    error: type[Exception], answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", _answer(error))
    monkeypatch.setattr("backbones.adapters.hub.reachable", lambda address: False)
    with pytest.raises(OSError, match=answer) as caught:
        load("diffusers:some/model@v1")
    assert "\n" not in str(caught.value)


def test_repository_is_read_from_the_hubs_cache_and_pinned(
    folder: Path, loaded: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "models--some--model"
    shutil.copytree(folder / "sd", cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("some/model", f"some/model@{commit}"):
        card = load(f"diffusers:{name}").card
        assert (card.name, card.revision) == (f"diffusers:{name}", commit)
        assert card.weights_sha256 == loaded("sd").card.weights_sha256
    (line,) = (each for each in entries() if each.alias == "stable-diffusion-1.5")
    monkeypatch.setattr(models, "entries", lambda: (replace(line, name="diffusers:some/model"),))
    for name in ("some/model", f"some/model@{commit}"):  # the catalogue's line is of both
        card = load(f"diffusers:{name}").card
        assert (card.licence, card.pretraining_data) == (line.licence, line.pretraining_data)
    (cached / "snapshots" / commit / WEIGHTS).write_bytes(b"torn")
    with pytest.raises(OSError, match=f"delete .* and fetch it again .*hf download some/model --revision {commit}"):
        load("diffusers:some/model")
