"""Models of open_clip behind the contract, against open_clip's own two encoders; tiny ones of every class, offline."""

import copy
import json
import math
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from open_clip import factory, pretrained
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from backbones.adapters import open_clip_models
from backbones.adapters.open_clip_towers import take_any_size
from backbones.adapters.random_weights import UNTRAINED
from backbones.base import Backbone, Readable, TextEncoder, freeze
from backbones.catalogue import load
from backbones.places import Places
from backbones.preprocessing import reference_transform
from backbones.reference import REFERENCES
from backbones.weights import read_weights

TEXT: dict[str, Any] = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VIT: dict[str, Any] = {"image_size": 64, "layers": 4, "width": 64, "head_width": 32, "patch_size": 16}
CONFIGS: dict[str, dict[str, Any]] = {
    "tiny-vit": {"embed_dim": 32, "vision_cfg": VIT, "text_cfg": TEXT},
    "tiny-vit-avg": {"embed_dim": 32, "vision_cfg": {**VIT, "pool_type": "avg", "no_ln_pre": True}, "text_cfg": TEXT},
    "tiny-resnet": {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8},
        "text_cfg": TEXT,
    },
    "tiny-timm-vit": {
        "embed_dim": 32,
        "custom_text": True,
        "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": None, "image_size": 160},
        "text_cfg": TEXT,
    },
    "tiny-timm-map": {
        "embed_dim": 96,
        "custom_text": True,
        "init_logit_bias": -10,
        "vision_cfg": {"timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "none", "image_size": 160},
        "text_cfg": {**TEXT, "no_causal_mask": True, "pool_type": "last", "proj_bias": True},
    },
    "tiny-timm-rotary": {  # Perception Encoder: a class token, rotary positions, pooled by attention
        "embed_dim": 512,
        "custom_text": True,
        "vision_cfg": {
            "timm_model_name": "vit_pe_core_tiny_patch16_384",
            "timm_pool": "map",
            "timm_proj": None,
            "image_size": 384,
        },
        "text_cfg": TEXT,
    },
    "tiny-timm-convnext": {
        "embed_dim": 32,
        "vision_cfg": {"timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "linear", "image_size": 160},
        "text_cfg": TEXT,
    },
    "tiny-coca": {
        "embed_dim": 32,
        "custom_text": True,
        "vision_cfg": {**VIT, "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": {**TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {"context_length": 76, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    },
}
TAG = {
    "hf_hub": "nobody/nothing/",
    "mean": (0.48, 0.45, 0.40),
    "std": (0.26, 0.26, 0.27),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
PROMPTS = ["a photo of a cat", "a diagram", ""]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tiny architectures and their weights, in open_clip's own layout, known to open_clip as tags with a file."""
    folder = tmp_path_factory.mktemp("open_clip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factory, "_MODEL_CONFIGS", {**factory._MODEL_CONFIGS, **CONFIGS})
        for name in CONFIGS:
            torch.manual_seed(0)
            model = open_clip.create_model(name)
            for parameter in model.parameters():  # CLIP's ResNet starts its last BatchNorms at zero
                nn.init.normal_(parameter, std=0.05) if parameter.ndim < 2 else None
            torch.save(model.state_dict(), folder / f"{name}.bin")
            patch.setitem(pretrained._PRETRAINED, name, {"noise": {**TAG, "file": str(folder / f"{name}.bin")}})
        yield folder


@pytest.fixture(scope="module")
def loaded(files: Path) -> Callable[[str], Backbone]:
    kept: dict[str, Backbone] = {}

    def get(name: str) -> Backbone:
        if name not in kept:
            kept[name] = load(f"open_clip:{name}/noise")
        return copy.deepcopy(kept[name])

    return get


def own(files: Path, name: str) -> Any:
    return open_clip.create_model(name, pretrained=str(files / f"{name}.bin")).eval()


def images(backbone: Backbone, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, *backbone.preprocess.size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_both_embeddings_are_open_clips_own(name: str, files: Path, loaded: Callable[[str], Backbone]) -> None:
    backbone, model = loaded(name), own(files, name)
    batch = images(backbone)
    assert torch.equal(backbone.embed(batch), model.encode_image(batch, normalize=False))
    assert isinstance(backbone, TextEncoder)
    tokens = open_clip.get_tokenizer(name)(PROMPTS)
    assert torch.equal(backbone.embed_text(PROMPTS), model.encode_text(tokens, normalize=False))
    assert not any(module.training for module in backbone.modules())


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_logit_scale_is_that_of_open_clips_logits(name: str, files: Path, loaded: Callable[[str], Backbone]) -> None:
    backbone, model = loaded(name), own(files, name)
    batch, tokens = images(backbone), open_clip.get_tokenizer(name)(PROMPTS)
    assert isinstance(backbone, TextEncoder)
    one = nn.functional.normalize(backbone.embed(batch), dim=1)
    other = nn.functional.normalize(backbone.embed_text(PROMPTS), dim=1)
    both = model.encode_image(batch, normalize=True) @ model.encode_text(tokens, normalize=True).T
    torch.testing.assert_close(backbone.logit_scale * one @ other.T, model.logit_scale.exp() * both)


@pytest.mark.parametrize("name", ["tiny-vit", "tiny-coca"])
def test_overlong_prompts_are_those_of_more_tokens_than_the_context(
    name: str, loaded: Callable[[str], Backbone]
) -> None:
    backbone = loaded(name)
    assert isinstance(backbone, TextEncoder)
    context = CONFIGS[name]["text_cfg"]["context_length"]
    at_most = ["cat " * words for words in range(context - 1)]  # a token a word, and two for start and end
    longer = ["cat " * words for words in (context - 1, context, 3 * context)]
    assert backbone.overlong([*at_most, *longer, ""]) == longer


@pytest.mark.parametrize("name", CONFIGS)
def test_card_names_what_was_loaded(name: str, loaded: Callable[[str], Backbone]) -> None:
    backbone = loaded(name)
    card = backbone.card
    assert (card.name, card.architecture, card.revision) == (f"open_clip:{name}/noise", name, "noise")
    assert (card.family, card.source) == ("vision-language", f"open_clip {open_clip.__version__}")
    assert card.parameters == sum(p.numel() for p in backbone.model.visual.parameters())  # type: ignore[union-attr]
    assert card.pretraining_method == ("CoCa" if "coca" in name else "CLIP")


@pytest.mark.parametrize("name", CONFIGS)
def test_layers_hold_each_parameter_of_the_image_tower_once_and_all_learn(
    name: str, loaded: Callable[[str], Backbone]
) -> None:
    backbone = loaded(name)
    grouped = [parameter for _, group in backbone.layers() for parameter in group]
    assert len({id(parameter) for parameter in grouped}) == len(grouped)
    assert {id(parameter) for parameter in grouped} == {id(p) for p in backbone.model.visual.parameters()}  # type: ignore[union-attr]
    assert len({layer for layer, _ in backbone.layers()}) == len(backbone.layers())
    backbone.embed(images(backbone)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in grouped)
    outside = [p for p in backbone.parameters() if id(p) not in {id(each) for each in grouped}]
    assert outside
    assert all(p.grad is None for p in outside)


def test_layers_are_in_depth_order(loaded: Callable[[str], Backbone]) -> None:
    assert [name for name, _ in loaded("tiny-vit").layers()] == [
        "0 stem", "1 block0", "2 block1", "3 block2", "4 block3", "5 projection"
    ]  # fmt: skip
    resnet = loaded("tiny-resnet")
    groups = dict(resnet.layers())
    assert list(groups) == ["0 stem", "1 block0", "2 block1", "3 block2", "4 block3", "5 projection"]
    visual: Any = resnet.model.visual  # type: ignore[union-attr]
    for name, module in {"1 block0": visual.layer1, "4 block3": visual.layer4, "5 projection": visual.attnpool}.items():
        assert {id(parameter) for parameter in groups[name]} == {id(parameter) for parameter in module.parameters()}
    assert loaded("tiny-timm-convnext").layers()[-1][0].endswith("projection")


STRIDES = {"tiny-resnet": [4, 8, 16, 32], "tiny-timm-convnext": [4, 8, 16, 32]}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("size", [(160, 160), (130, 230)])
def test_maps_are_the_image_over_the_stride_rounded_up(
    name: str, size: tuple[int, int], loaded: Callable[[str], Backbone]
) -> None:
    backbone = freeze(loaded(name))
    maps = backbone.feature_maps(torch.randn(1, 3, *size))
    assert list(maps) == STRIDES.get(name, [16])
    for stride, features in maps.items():
        assert features.shape[2:] == (math.ceil(size[0] / stride), math.ceil(size[1] / stride))
        assert features.isfinite().all()
    assert backbone.embed(torch.randn(1, 3, *size)).shape == (1, CONFIGS[name]["embed_dim"])


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_reference_path_agrees(name: str, loaded: Callable[[str], Backbone]) -> None:
    backbone, reference = freeze(loaded(name)), REFERENCES.load("open_clip")(f"{name}/noise", Places())
    batch = images(backbone)
    expected = reference.embed(batch)
    assert (backbone.embed(batch) - expected).abs().max() <= reference.tolerance * expected.square().mean().sqrt()
    assert (reference.feature_maps is None) == (name == "tiny-coca")
    if reference.feature_maps is not None:
        ours, theirs = backbone.feature_maps(batch), reference.feature_maps(batch)
        assert list(ours) == list(theirs)
        for stride, features in ours.items():
            torch.testing.assert_close(features, theirs[stride], rtol=1e-5, atol=1e-5)
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8))
    torch.testing.assert_close(reference_transform(backbone.preprocess)(photo), reference.transform(photo))


@pytest.mark.parametrize("name", ["tiny-timm-map", "tiny-timm-rotary"])
@torch.no_grad()
def test_maps_of_a_tower_pooled_by_attention_are_the_tokens_it_pools(
    name: str, files: Path, loaded: Callable[[str], Backbone]
) -> None:
    backbone, model = freeze(loaded(name)), own(files, name)
    pooled: list[Tensor] = []
    model.visual.trunk.attn_pool.register_forward_pre_hook(lambda module, inputs: pooled.append(inputs[0]))
    batch = images(backbone)
    model.encode_image(batch)
    (features,) = backbone.feature_maps(batch).values()
    count = features.shape[2] * features.shape[3]  # of patches; a class token comes before them
    torch.testing.assert_close(features.flatten(2).transpose(1, 2), pooled[0][:, -count:], rtol=1e-5, atol=1e-5)


def test_interpolated_positions_are_those_of_a_model_built_for_that_size(loaded: Callable[[str], Backbone]) -> None:
    backbone = freeze(loaded("tiny-vit"))
    state = dict(backbone.model.state_dict())  # type: ignore[union-attr]
    larger = open_clip.create_model("tiny-vit", force_image_size=96).eval()
    factory.resize_pos_embed(state, larger)  # open_clip's own resizing when it loads for another size
    larger.load_state_dict(state)
    batch = torch.randn(2, 3, 96, 96)
    torch.testing.assert_close(backbone.embed(batch), larger.encode_image(batch))
    tokens = larger.visual.forward_intermediates(batch, intermediates_only=True, normalize_intermediates=True)
    torch.testing.assert_close(backbone.feature_maps(batch)[16], tokens["image_intermediates"][-1])


@torch.no_grad()
def test_readouts_are_the_tokens_they_name(loaded: Callable[[str], Backbone]) -> None:
    backbone = freeze(loaded("tiny-vit"))
    assert isinstance(backbone, Readable)
    assert backbone.readouts[:4] == ("final/cls", "final/mean", "last4/cls", "last4/mean")
    batch, visual = images(backbone), backbone.model.visual  # type: ignore[union-attr]
    outputs: list[Tensor] = []
    for block in visual.transformer.resblocks:  # type: ignore[union-attr]
        block.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    projected = visual(batch)  # type: ignore[operator]
    torch.testing.assert_close(backbone.read(batch, "final/cls") @ visual.proj, projected)  # type: ignore[union-attr]
    seen = outputs[:4]
    torch.testing.assert_close(backbone.read(batch, "block1/cls"), seen[1][:, 0])
    torch.testing.assert_close(backbone.read(batch, "last4/mean"), torch.cat([x[:, 1:].mean(1) for x in seen], 1))
    torch.testing.assert_close(backbone.read(batch, "final/mean"), backbone.feature_maps(batch)[16].mean((2, 3)))
    with pytest.raises(ValueError, match=r"unknown readout 'block9/cls'; did you mean 'block"):
        backbone.read(batch, "block9/cls")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_readout_gives_a_vector_an_image(name: str, loaded: Callable[[str], Backbone]) -> None:
    backbone = freeze(loaded(name))
    assert isinstance(backbone, Readable)
    batch = images(backbone)
    found = {readout: backbone.read(batch, readout) for readout in backbone.readouts}
    assert all(vector.ndim == 2 and len(vector) == 2 and vector.isfinite().all() for vector in found.values())
    if name == "tiny-timm-convnext":
        torch.testing.assert_close(
            found["final/pooled"] @ backbone.model.visual.head.proj.weight.T, backbone.embed(batch)
        )  # type: ignore[union-attr]
    if name == "tiny-resnet":
        torch.testing.assert_close(found["stage4/mean"], backbone.feature_maps(batch)[32].mean((2, 3)))


def test_activation_of_the_tag_wins_over_the_architectures(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``ViT-B-16/openai`` was trained with QuickGELU, which open_clip's ViT-B-16 does not use: it only warns."""
    config = pretrained._PRETRAINED["tiny-vit"]["noise"]
    plain = load("open_clip:tiny-vit/noise")
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny-vit", {"noise": {**config, "quick_gelu": True}})
    quick = load("open_clip:tiny-vit/noise")
    assert quick.card.weights_sha256 != plain.card.weights_sha256
    model = open_clip.create_model("tiny-vit", pretrained=str(files / "tiny-vit.bin"), force_quick_gelu=True).eval()
    batch = images(plain)
    assert torch.equal(quick.embed(batch), model.encode_image(batch))
    assert not torch.allclose(quick.embed(batch), plain.embed(batch))


@pytest.mark.parametrize("tag", ["openai", "metaclip_400m", "dfn2b"])
def test_real_tags_of_another_activation_get_it(tag: str) -> None:
    twin = load(f"random:open_clip:ViT-B-16/{tag}")
    kinds = {type(module).__name__ for module in twin.model.visual.modules()}  # type: ignore[union-attr]
    assert "QuickGELU" in kinds
    assert "GELU" not in kinds


@pytest.mark.parametrize("wrapping", ["plain", "checkpoint", "safetensors"])
def test_reads_the_layouts_that_open_clip_writes(
    wrapping: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: Callable[[str], Backbone]
) -> None:
    state = read_weights(files / "tiny-vit.bin")
    path = tmp_path / ("weights.safetensors" if wrapping == "safetensors" else "weights.pt")
    if wrapping == "safetensors":
        save_file(state, path)
    elif wrapping == "checkpoint":  # as its training script saves them from several devices
        torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    else:
        torch.save(state, path)
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny-vit", {"noise": {**TAG, "file": str(path)}})
    assert load("open_clip:tiny-vit/noise").card == loaded("tiny-vit").card


def _without(state: dict[str, Tensor]) -> None:
    del state["visual.ln_post.bias"]


def _surplus(state: dict[str, Tensor]) -> None:
    state["visual.extra"] = torch.ones(1)


def _positions(state: dict[str, Tensor]) -> None:
    state["visual.positional_embedding"] = torch.ones(10, 64)


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (_without, r"1 missing .*visual\.ln_post\.bias"),
        (_surplus, r"1 unexpected .*visual\.extra"),
        (_positions, r"visual\.positional_embedding is \[10, 64\], the architecture has \[17, 64\]"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    change: Callable[[dict[str, Tensor]], None], answer: str, files: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Position embeddings of another size too, which open_clip would resize without a word."""
    state = read_weights(files / "tiny-vit.bin")
    change(state)
    torch.save(state, tmp_path / "weights.bin")
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny-vit", {"noise": {**TAG, "file": str(tmp_path / "weights.bin")}})
    with pytest.raises(ValueError, match=f"open_clip:tiny-vit/noise: the weights do not fit: .*{answer}"):
        load("open_clip:tiny-vit/noise")


def test_a_card_loads_local_weights(files: Path, loaded: Callable[[str], Backbone]) -> None:
    card = {
        "name": "mine",
        "weights": "tiny-vit.bin",
        "library": "open_clip",
        "architecture": "tiny-vit",
        "preprocess": {"size": 64, "interpolation": "bicubic", "mean": TAG["mean"], "std": TAG["std"]},
        "family": "vision-language",
        "pretraining": {"method": "CLIP", "data": "noise"},
        "licence": "mit",
        "revision": "1",
    }
    (files / "card.yaml").write_text(json.dumps(card))
    backbone, twin = load("checkpoint:card.yaml", Places((files,))), loaded("tiny-vit")
    assert backbone.card.weights_sha256 == twin.card.weights_sha256
    assert backbone.preprocess == twin.preprocess
    assert torch.equal(backbone.embed(images(twin)), twin.embed(images(twin)))
    for change, answer in [
        ({"kwargs": {"pretrained": "openai"}}, "kwargs pretrained are not for a card"),
        ({"kwargs": {"vision_confg": {}}}, "vision_confg"),
        ({"architecture": "ViT-B-61"}, "did you mean 'ViT-B-16'"),
        ({"classes": ["a"]}, "open_clip has no classifier"),
        ({"library": "open_clap"}, "unknown library 'open_clap'; did you mean 'open_clip'"),
    ]:
        (files / "card.yaml").write_text(json.dumps({**card, **change}))
        with pytest.raises(ValueError, match=answer):
            load("checkpoint:card.yaml", Places((files,)))


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("ViT-B-16/laion2b_s34b_b88", "did you mean 'laion2b_s34b_b88k'"),
        ("ViT-B-61/openai", "did you mean 'ViT-B-16/openai'"),
        ("ViT-B-16", "unknown weights of open_clip's ViT-B-16 ''"),
    ],
)
def test_unknown_names_get_suggestions(name: str, answer: str) -> None:
    for source in ("open_clip", "random:open_clip"):
        with pytest.raises(ValueError, match=answer):
            load(f"{source}:{name}")


def test_preprocessing_that_cannot_be_said_is_refused(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = pretrained._PRETRAINED["tiny-vit"]["noise"]
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny-vit", {"noise": {**config, "resize_mode": "longest"}})
    with pytest.raises(ValueError, match="resize_mode 'longest' for 64 x 64 pixels"):
        load("open_clip:tiny-vit/noise")
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny-vit", {"noise": {**config, "resize_mode": "squash"}})
    backbone, reference = load("open_clip:tiny-vit/noise"), REFERENCES.load("open_clip")("tiny-vit/noise", Places())
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8))
    torch.testing.assert_close(reference_transform(backbone.preprocess)(photo), reference.transform(photo))


def test_weights_from_the_hubs_cache_are_pinned_to_its_commit(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: Callable[[str], Backbone]
) -> None:
    """The cache as it lies on disk, without a network: a tag names a repository, whose main branch can move."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "models--nobody--nothing"
    (cached / "snapshots" / commit).mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    shutil.copy(files / "tiny-vit.bin", cached / "snapshots" / commit / "open_clip_pytorch_model.bin")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("backbones.adapters.hub.reachable", lambda address: False)
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny-vit", {"noise": TAG})
    card = load("open_clip:tiny-vit/noise").card
    assert (card.name, card.revision) == ("open_clip:tiny-vit/noise", commit)
    assert card.weights_sha256 == loaded("tiny-vit").card.weights_sha256


def test_weights_and_tokenizers_that_cannot_be_fetched_say_which_and_where(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_address(*_: object, **__: object) -> None:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("backbones.adapters.hub.getproxies", dict)
    with pytest.raises(
        OSError, match=r"cannot fetch the weights of open_clip:RN50/openai.*checkpoint:CARD\.yaml"
    ) as one:
        load("open_clip:RN50/openai")
    config = CONFIGS["tiny-vit"]
    text = {**TEXT, "hf_tokenizer_name": "nobody/nothing"}
    monkeypatch.setitem(factory._MODEL_CONFIGS, "tiny-vit", {**config, "text_cfg": text})
    backbone = load("open_clip:tiny-vit/noise")
    with pytest.raises(OSError, match="cannot fetch the tokenizer of open_clip:tiny-vit/noise") as other:
        backbone.embed_text(PROMPTS)  # type: ignore[attr-defined]
    for caught in (one, other):
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_every_tag_of_open_clip_is_a_name_and_its_preprocessing_can_be_said() -> None:
    for model, tag in open_clip.list_pretrained():
        assert open_clip_models.split(f"{model}/{tag}") == (model, tag)
        config = open_clip.get_pretrained_cfg(model, tag)
        assert config["resize_mode"] in ("shortest", "squash")
        assert config["interpolation"] in ("bilinear", "bicubic")
        assert config["hf_hub"]


@pytest.mark.parametrize(
    ("name", "method", "data", "licence", "size", "crop", "mean"),
    [
        ("ViT-B-32/laion2b_s34b_b79k", "CLIP", "LAION-2B", "mit", 224, "center", 0.48145466),
        ("ViT-B-32-SigLIP2-256/webli", "SigLIP 2", "WebLI", "apache-2.0", 256, "squash", 0.5),
        ("RN50/openai", "CLIP", "WIT-400M", "mit", 224, "center", 0.48145466),
    ],
)
def test_real_tags_are_described(
    name: str, method: str, data: str, licence: str, size: int, crop: str, mean: float
) -> None:
    twin = UNTRAINED.load("open_clip")(name, Places())
    card, preprocess = twin.card, twin.preprocess
    assert (card.pretraining_method, card.pretraining_data, card.licence) == (method, data, licence)
    assert (preprocess.size, preprocess.crop, preprocess.mean[0]) == ((size, size), crop, mean)


TIMM = sorted(
    {
        (config["vision_cfg"]["timm_model_name"], config["vision_cfg"]["timm_pool"], config["vision_cfg"]["timm_proj"])
        for name, config in factory._MODEL_CONFIGS.items()
        if "timm_model_name" in config["vision_cfg"]
    },
    key=str,
)


@pytest.mark.parametrize(("name", "pooling", "projection"), TIMM)
def test_any_size_form_of_open_clips_timm_towers_takes_the_same_weights(
    name: str, pooling: str, projection: str | None
) -> None:
    with torch.device("meta"):
        visual = open_clip.timm_model.TimmModel(name, 64, pool=pooling, proj=projection)
        before = {key: value.shape for key, value in visual.state_dict().items()}
        take_any_size(visual)
    assert {key: value.shape for key, value in visual.state_dict().items()} == before


@pytest.mark.parametrize("name", ["vit_pe_core_tiny_patch16_384", "eva02_tiny_patch14_224"])
@torch.no_grad()
def test_any_size_form_of_rotary_towers_is_the_fixed_one_at_its_own(name: str) -> None:
    trunk = timm.create_model(name, num_classes=8)
    visual = open_clip.timm_model.TimmModel(name, 8, pool=trunk.global_pool, proj=None)
    fixed = copy.deepcopy(visual).eval()
    take_any_size(visual)
    visual.load_state_dict(fixed.state_dict())
    batch = torch.randn(1, 3, *trunk.pretrained_cfg["input_size"][1:])
    torch.testing.assert_close(visual.eval()(batch), fixed(batch), rtol=1e-4, atol=1e-5)
    assert visual(torch.randn(1, 3, 112, 224)).shape == (1, 8)
