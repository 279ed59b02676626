"""Every model type of ``huggingface:`` on tiny models in the library's own format, against the library's own path."""

import copy
import json
import math
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from backbones.adapters.huggingface.kinds import KINDS
from backbones.base import FAMILIES, Backbone, Classifier, Readable, TextEncoder, freeze
from backbones.catalogue import load
from backbones.certification import checks
from backbones.places import Places
from backbones.preprocessing import fit_by, normalise, reference_transform
from backbones.reference import REFERENCES, reference_of
from backbones.weights import weights_sha256

transformers = pytest.importorskip("transformers")

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


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small wait for threads a hundred times longer than they compute (measured on a shared machine)."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root, made = tmp_path_factory.mktemp("huggingface"), {}
    return lambda name: made[name] if name in made else made.setdefault(name, save(root / name, name))


@pytest.fixture(scope="module")
def loaded(folders: Callable[[str], Path]) -> Callable[[str], Backbone]:
    kept: dict[str, Backbone] = {}
    return lambda name: copy.deepcopy(kept.get(name) or kept.setdefault(name, load(f"huggingface:{folders(name)}")))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("prefix", ["", "random:"])
def test_certificates(name: str, prefix: str, folders: Callable[[str], Path]) -> None:
    """With weights of the folder, and as a twin of it beside the library's model built anew."""
    full = f"{prefix}huggingface:{folders(name)}"
    backbone = load(full)
    reference = reference_of(full, backbone, Places())
    assert reference is not None
    assert reference.tolerance == 1e-4
    found = list(checks(backbone, lambda: load(full), reference))
    assert [check for check in found if check.passed is not True] == []


@pytest.fixture(scope="module")
def upstream(folders: Callable[[str], Path]) -> Callable[[str], Any]:
    kept: dict[str, Any] = {}
    make = REFERENCES.load("huggingface")
    return lambda name: kept.get(name) or kept.setdefault(name, make(str(folders(name)), Places()))


def images(backbone: Backbone, batch: int = 3, size: tuple[int, int] | None = None) -> Tensor:
    return torch.randn(batch, 3, *(size or backbone.preprocess.size), generator=torch.Generator().manual_seed(1))


def other_size(name: str) -> tuple[int, int]:
    return (64, 64) if name in ONE_SIZE else (101, 84)


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * expected.square().mean().sqrt()


def test_every_row_has_a_model() -> None:
    assert set(KINDS) <= set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_features_are_the_librarys_own(
    name: str, loaded: Callable[[str], Backbone], upstream: Callable[[str], Any]
) -> None:
    backbone, theirs = freeze(loaded(name)), upstream(name)
    with torch.no_grad():
        for size in (backbone.preprocess.size, other_size(name)):
            batch = images(backbone, 2, size)
            close(backbone.embed(batch), theirs.embed(batch))
            ours, maps = backbone.feature_maps(batch), theirs.feature_maps(batch)
            assert set(ours) == set(maps)
            for stride in ours:
                rows, columns = maps[stride].shape[-2:]
                assert ours[stride].shape[2:] == tuple(math.ceil(side / stride) for side in size)
                if ours[stride].shape[2:] == (rows, columns):
                    close(ours[stride], maps[stride])
    assert min(maps) == min(ours)


@pytest.mark.parametrize("name", MODELS)
def test_keeps_the_contract(name: str, loaded: Callable[[str], Backbone]) -> None:
    backbone = loaded(name)
    card, batch = backbone.card, images(backbone)
    assert all(getattr(card, field.name) for field in fields(card))
    assert card.family in FAMILIES
    assert not any(module.training for module in backbone.modules())
    before = weights_sha256(backbone)
    with torch.no_grad():
        together = backbone.embed(batch)
        if name not in ONE_SIZE:
            backbone.embed(images(backbone, 1, (160, 96)))
            backbone.feature_maps(images(backbone, 1, (36, 64)))
        assert torch.equal(backbone.embed(batch), together)
        alone = torch.cat([backbone.embed(image[None]) for image in batch])
    torch.testing.assert_close(alone, together, rtol=1e-3, atol=1e-4)
    assert together.std() > 1e-3
    assert (together[0] - together[1]).abs().max() > 1e-4
    assert weights_sha256(backbone) == before


@pytest.mark.parametrize("name", MODELS)
def test_layers_hold_each_trunk_parameter_once_and_all_learn(name: str, loaded: Callable[[str], Backbone]) -> None:
    backbone = loaded(name)
    grouped = [parameter for _, group in backbone.layers() for parameter in group]
    names = [layer for layer, _ in backbone.layers()]
    assert len({id(parameter) for parameter in grouped}) == len(grouped)
    assert len(set(names)) == len(names)
    assert backbone.card.parameters == sum(parameter.numel() for parameter in grouped)
    backbone.embed(images(backbone)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in grouped)
    inside = {id(parameter) for parameter in grouped}
    assert all(parameter.grad is None for parameter in backbone.parameters() if id(parameter) not in inside)


@pytest.mark.parametrize("name", MODELS)
def test_layers_are_in_the_order_of_use(name: str, loaded: Callable[[str], Backbone]) -> None:
    backbone = loaded(name)
    blocks = [
        layer.partition(" ")[2] for layer, _ in backbone.layers() if any(letter.isdigit() for letter in layer[2:])
    ]
    numbers = [[int(part) for part in block.split(".") if part.isdigit()] for block in blocks]
    assert len(blocks) >= 2
    assert [number[0] for number in numbers] == sorted(number[0] for number in numbers)


@pytest.mark.parametrize("name", MODELS)
def test_readouts_are_all_read(name: str, loaded: Callable[[str], Backbone]) -> None:
    backbone = freeze(loaded(name))
    assert isinstance(backbone, Readable)
    batch = images(backbone)
    vectors = {readout: backbone.read(batch, readout) for readout in backbone.readouts}
    assert len(set(backbone.readouts)) == len(backbone.readouts)
    assert all(vector.ndim == 2 and len(vector) == 3 and vector.isfinite().all() for vector in vectors.values())
    with pytest.raises(ValueError, match="unknown readout 'block9/cls'"):
        backbone.read(batch, "block9/cls")


def test_readouts_are_the_hidden_states_after_the_norm(loaded: Callable[[str], Backbone]) -> None:
    backbone = freeze(loaded("dinov2_with_registers"))
    assert isinstance(backbone, Readable)
    model: Any = backbone.model
    batch = images(backbone)
    _, first, last = [model.layernorm(state) for state in model(batch, output_hidden_states=True).hidden_states]
    expected = {
        "block1/cls": last[:, 0],
        "block0/mean": first[:, 5:].mean(1),
        "block1/cls+mean": torch.cat([last[:, 0], last[:, 5:].mean(1)], 1),
        "last2/cls": torch.cat([first[:, 0], last[:, 0]], 1),
    }
    for readout, vector in expected.items():
        close(backbone.read(batch, readout), vector)
    close(backbone.embed(batch), expected["block1/cls"])


def test_readouts_of_stages_are_means_of_maps(loaded: Callable[[str], Backbone]) -> None:
    backbone = freeze(loaded("swin"))
    assert isinstance(backbone, Readable)
    batch = images(backbone)
    maps = backbone.feature_maps(batch)
    assert backbone.readouts == ("stage1/mean", "stage0/mean")
    close(backbone.read(batch, "stage0/mean"), maps[4].mean((2, 3)))


@pytest.mark.parametrize("name", MODELS)
def test_identity_survives_saving(name: str, folders: Callable[[str], Path], tmp_path: Path) -> None:
    first = load(f"huggingface:{folders(name)}")
    if name.startswith(("sam", "dpt", "depth", "vit_mae", "beit-masked")) or name in WITH_TEXT:
        second = load(f"huggingface:{folders(name)}")
    else:
        first.model.save_pretrained(tmp_path)  # type: ignore[union-attr, operator]
        for file in folders(name).glob("*processor_config.json"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
        second = load(f"huggingface:{tmp_path}")
    assert second.card.weights_sha256 == first.card.weights_sha256


def test_settings_are_part_of_the_identity(folders: Callable[[str], Path], tmp_path: Path) -> None:
    for file in folders("dinov2").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    stated = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**stated, "layer_norm_eps": 1e-3}))
    changed = load(f"huggingface:{tmp_path}").card.weights_sha256
    assert changed != load(f"huggingface:{folders('dinov2')}").card.weights_sha256


@pytest.mark.parametrize("name", MODELS)
def test_random_twin_needs_no_weights(name: str, folders: Callable[[str], Path], tmp_path: Path) -> None:
    for file in folders(name).glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    twin, other = (load(f"random:huggingface:{tmp_path}{seed}") for seed in ("", "@1"))
    assert torch.equal(torch.rand(3), expected)
    assert twin.card.weights_sha256 != other.card.weights_sha256
    assert (twin.card.family, twin.card.pretraining_method) == ("random", "none")
    assert twin.card.parameters == load(f"huggingface:{folders(name)}").card.parameters
    assert freeze(twin).embed(images(twin)).isfinite().all()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_head_gives_the_librarys_own_logits(
    name: str, folders: Callable[[str], Path], loaded: Callable[[str], Backbone]
) -> None:
    backbone = freeze(loaded(name))
    assert isinstance(backbone, Classifier)
    model = transformers.AutoModelForImageClassification.from_pretrained(folders(name)).eval()
    batch = images(backbone)
    extra = {"interpolate_pos_encoding": True} if name.startswith(("vit", "beit", "data2vec")) else {}
    with torch.no_grad():
        close(backbone.classify(batch), model(batch, **extra).logits)
    assert len(backbone.classes) == model.config.num_labels


def test_only_a_head_makes_a_classifier(loaded: Callable[[str], Backbone]) -> None:
    assert not any(isinstance(loaded(name), Classifier) for name in MODELS if name not in CLASSIFIERS)
    assert not any(isinstance(loaded(name), TextEncoder) for name in MODELS)
    assert loaded("vit-classifier").card.family == "supervised"
    assert loaded("beit-classifier").card.pretraining_method == "BEiT, then supervised"
    assert loaded("dinov2-classifier").card.family == "self-supervised"


def test_imagenet_names_become_wordnet_ids_only_in_their_order() -> None:
    from torchvision.models import ResNet18_Weights

    from backbones.adapters.imagenet import wordnet_ids, wordnet_ids_of

    names = ResNet18_Weights.DEFAULT.meta["categories"]
    assert wordnet_ids_of(names) == wordnet_ids(1000)
    assert wordnet_ids_of(sorted(names)) == tuple(sorted(names))
    assert wordnet_ids_of(names[:999]) == tuple(names[:999])


@pytest.mark.parametrize("name", WITH_TEXT)
def test_text_is_the_librarys_own(name: str, folders: Callable[[str], Path], tmp_path: Path) -> None:
    for file in folders(name).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    save_tokenizer(tmp_path)
    backbone = freeze(load(f"huggingface:{tmp_path}"))
    assert isinstance(backbone, TextEncoder)
    model = transformers.AutoModel.from_pretrained(tmp_path).eval()
    batch = images(backbone, 2)
    padding: dict[str, Any] = {"padding": "max_length", "max_length": 8} if "siglip" in name else {"padding": True}
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    tokens = tokenizer(["a photo of a cat", "a dog"], return_tensors="pt", **padding)
    tokens.pop("token_type_ids", None)
    vectors = backbone.embed_text(["a photo of a cat", "a dog"])
    with torch.no_grad():
        close(vectors, model.get_text_features(**tokens).pooler_output)
    assert vectors.shape == backbone.embed(batch).shape
    assert backbone.embed_text(["a " * 50]).shape == (1, vectors.shape[1])
    assert backbone.overlong(["a " * 3, "a " * 9, "", "a " * 50]) == ["a " * 9, "a " * 50]
    plain = load(f"huggingface:{folders(name)}")
    assert plain.card.parameters == backbone.card.parameters
    close(freeze(plain).embed(batch), backbone.embed(batch), 1e-6)


def test_masked_autoencoder_sees_every_patch_in_its_place(loaded: Callable[[str], Backbone]) -> None:
    backbone = freeze(loaded("vit_mae-pretraining"))
    picture = images(backbone, 1)
    picture[:, :, :16, 48:] = 30.0
    change = (backbone.feature_maps(picture)[16] - backbone.feature_maps(images(backbone, 1))[16]).abs().mean((0, 1))
    assert change.argmax() == 3
    moved: Any = backbone.model
    assert moved(picture, noise=torch.arange(16.0)[None]).last_hidden_state.shape[1] == 17


@pytest.mark.parametrize("name", sorted(ONE_SIZE))
def test_one_size_says_which(name: str, loaded: Callable[[str], Backbone]) -> None:
    with pytest.raises(ValueError, match=r"takes images of 64 x 64 only, not 80 x 64"):
        loaded(name).embed(torch.zeros(1, 3, 80, 64))


def test_swin_says_the_least_size(loaded: Callable[[str], Backbone]) -> None:
    with pytest.raises(ValueError, match=r"needs sides of 25 pixels, not 24"):
        loaded("swin").embed(torch.zeros(1, 3, 24, 32))


@pytest.mark.parametrize("name", ["swin", "swinv2"])
def test_swin_does_not_remember_the_last_size(name: str, folders: Callable[[str], Path]) -> None:
    """The library's windows shrink, and stop shifting, for good at the first image that is no larger than they are."""
    backbone = freeze(load(f"huggingface:{folders(name)}"))
    large, small = images(backbone, 1, (160, 96)), images(backbone, 1, (32, 32))
    before = backbone.embed(large)
    backbone.embed(small)
    assert torch.equal(backbone.embed(large), before)
    if name == "swin":  # the fault is still the library's own; without it nothing of ours is needed
        model: Any = backbone.model
        model(small)
        assert not torch.equal(model(large).pooler_output, before)


def picture(kind: str, width: int, height: int) -> Image.Image:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (height, width, 3) if kind == "noise" else (7, 5, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


SIZES = [(64, 64), (97, 97), (500, 375), (375, 501), (40, 31), (227, 256), (333, 90)]
PROCESSORS = ["dinov2", "vit", "siglip", "clip", "beit", "convnext", "dpt", "aimv2", "sam", "dinov3_vit"]
FLOATING = {"dinov3_vit": 1.01 / 255 / 0.224}
"""Largest difference: a grey level, since DINOv3's processor does not round to them while it resizes, and ours does."""


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("kind", ["noise", "smooth"])
def test_preprocess_is_the_processors(
    name: str, kind: str, loaded: Callable[[str], Backbone], upstream: Callable[[str], Any]
) -> None:
    transform = reference_transform(loaded(name).preprocess)
    for size in SIZES:
        image = picture(kind, *size)
        expected = upstream(name).transform(image)
        torch.testing.assert_close(transform(image), expected, rtol=0, atol=FLOATING.get(name, 1e-5))


@pytest.mark.parametrize("size", [384, 400])
def test_large_convnext_squashes(size: int) -> None:
    from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil

    from backbones.adapters.huggingface.preprocess import preprocess_of

    theirs = ConvNextImageProcessorPil(size={"shortest_edge": size})
    image = picture("smooth", 431, 300)
    expected = theirs(images=image, return_tensors="pt")["pixel_values"][0]
    ours = reference_transform(preprocess_of(theirs, "here"))(image)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["depth_anything", "siglip2"])
def test_square_images_are_the_processors_where_the_aspect_is_kept(
    name: str, folders: Callable[[str], Path], loaded: Callable[[str], Backbone], upstream: Callable[[str], Any]
) -> None:
    preprocess = loaded(name).preprocess
    for kind in ("noise", "smooth"):
        for side in (64, 97, 300):
            image = picture(kind, side, side)
            found = reference_transform(preprocess)(image)
            torch.testing.assert_close(found, upstream(name).transform(image), rtol=0, atol=1e-5)
            if name == "depth_anything":
                processor = transformers.AutoImageProcessor.from_pretrained(folders(name), backend="pil")
                alone = processor(images=image, return_tensors="pt")["pixel_values"][0]
                torch.testing.assert_close(found, alone, rtol=0, atol=1e-5)
        wide = picture(kind, 333, 200)
        torch.testing.assert_close(
            reference_transform(preprocess)(wide), upstream(name).transform(wide), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["smooth", "noise"])
def test_padding_is_the_same_on_every_path(size: tuple[int, int], kind: str, loaded: Callable[[str], Backbone]) -> None:
    preprocess = loaded("sam").preprocess
    image = picture(kind, *size)
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    mine = normalise(fit_by("pil", preprocess)(tensor)[None], preprocess)[0]
    torch.testing.assert_close(mine, reference_transform(preprocess)(image), rtol=0, atol=1e-6)
    assert fit_by("fast", preprocess)(tensor).shape == (3, 64, 64)
    if kind == "smooth":
        assert (fit_by("fast", preprocess)(tensor).int() - fit_by("pil", preprocess)(tensor).int()).abs().max() <= 1


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"resample": 1}, "PIL's filter 1; BoB does nearest, bilinear, bicubic"),
        ({"rescale_factor": 1 / 127.5}, "instead of 1/255"),
        ({"do_resize": False}, "does not resize its images"),
        ({"do_pad": True}, "pads its images"),
        ({"size": {"shortest_edge": 40}}, r"cuts \(56, 56\) from images whose shorter side is 40"),
        ({"size": {"height": 80, "width": 80}}, r"resizes to \(80, 80\) and then cuts"),
        ({"image_processor_type": "LevitImageProcessor"}, "does not know the steps of LevitImageProcessor"),
    ],
)
def test_a_step_we_do_not_do_is_refused(
    change: dict[str, Any], answer: str, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    for file in folders("dinov2").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=answer):
        load(f"huggingface:{tmp_path}")


def broken(folder: Path, tmp_path: Path, change: Callable[[Path], None]) -> str:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    change(tmp_path)
    return f"huggingface:{tmp_path}"


def configured(**settings: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))

    return change


def without(key: str, extra: str = "") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        state = load_file(folder / "model.safetensors")
        state = {name: tensor for name, tensor in state.items() if name != key or not key}
        save_file(state | ({extra: torch.zeros(2)} if extra else {}), folder / "model.safetensors", {"format": "pt"})

    return change


def only_pickle(folder: Path) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json in"),
        (lambda folder: (folder / "config.json").write_text("{"), "not valid JSON .*fetch it again"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "no preprocessor_config.json"),
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            "no model.safetensors; a pytorch_model.bin is a pickle",
        ),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 99), "cannot be read .*fetch it again"),
        (only_pickle, r"only pytorch_model.bin; .*pass --trust"),
        (without("layernorm.weight"), "1 missing: layernorm.weight"),
        (without("", "odd.weight"), "1 unexpected: odd.weight"),
        (configured(hidden_size=48), "(weights do not fit|cannot be read)"),
        (configured(model_type="dinov9"), r"did you mean 'dinov2'.*BoB knows: .*vit_mae"),
        (configured(model_type="dinov9", architectures=["Mine"], auto_map={"AutoModel": "mine.Mine"}), "dinov9"),
        (configured(architectures=["Mine"], auto_map={"AutoModel": "mine.Mine"}), "wants to run code of its own"),
        (configured(quantization_config={"quant_method": "bitsandbytes"}), "quantised"),
        (configured(model_type="dpt", is_hybrid=True), "hybrid"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    change: Callable[[Path], None], answer: str, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=answer) as caught:
        load(broken(folders("dinov2"), tmp_path, change))
    assert "\n" not in str(caught.value)


def test_code_of_a_repository_is_never_run(folders: Callable[[str], Path], tmp_path: Path) -> None:
    """A known type that also offers code of its own is loaded with the library's class, the code left alone."""

    def change(folder: Path) -> None:
        (folder / "mine.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
        configured(auto_map={"AutoModel": "mine.Mine", "AutoConfig": "mine.Mine"})(folder)

    backbone = load(broken(folders("dinov2"), tmp_path, change))
    assert backbone.card.weights_sha256 == load(f"huggingface:{folders('dinov2')}").card.weights_sha256
    assert not (tmp_path / "ran").exists()


def test_trusted_pickles_are_read_as_plain_tensors(folders: Callable[[str], Path], tmp_path: Path) -> None:
    name = broken(folders("dinov2"), tmp_path, only_pickle)
    trusted = load(name, Places(trust=True))
    assert trusted.card.weights_sha256 == load(f"huggingface:{folders('dinov2')}").card.weights_sha256
    torch.save({"layernorm.weight": Places()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="cannot be read"):
        load(name, Places(trust=True))


def test_model_card_states_licence_and_data(folders: Callable[[str], Path], tmp_path: Path) -> None:
    def change(folder: Path) -> None:
        (folder / "README.md").write_text("---\nlicense: apache-2.0\ndatasets:\n- imagenet-1k\n---\n# Tiny\n")

    card = load(broken(folders("dinov2"), tmp_path, change)).card
    assert (card.licence, card.pretraining_data) == ("apache-2.0", "imagenet-1k")


def test_a_path_that_is_not_there_says_where_it_looked() -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder of a Hugging Face model '\./nowhere'"):
        load("huggingface:./nowhere")


def test_a_repository_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_address(*_: object, **__: object) -> None:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("backbones.adapters.hub.getproxies", dict)
    with pytest.raises(OSError, match=r"`hf download some/model --revision v1` puts it into its cache") as caught:
        load("huggingface:some/model@v1")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        ("GatedRepoError", "accept their terms at https://hf.co/some/model, then `hf auth login`"),
        ("RevisionNotFoundError", "there is no revision 'v1'"),
        ("RepositoryNotFoundError", "no such repository"),
    ],
)
def test_the_hubs_refusals_say_what_to_do(error: str, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*_: object, **__: object) -> None:
        kind = getattr(huggingface_hub.errors, error)
        raise kind.__new__(kind)

    monkeypatch.setattr("backbones.adapters.hub.reachable", lambda address: True)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(OSError, match=answer):
        load("huggingface:some/model@v1")


def test_a_cached_repository_is_pinned_to_its_commit(
    folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The hub's cache as it lies on disk, without a network: the revision becomes the commit."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--some--model" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for file in folders("dinov2").iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    (tmp_path / "models--some--model" / "refs").mkdir()
    (tmp_path / "models--some--model" / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("backbones.adapters.hub.reachable", lambda address: False)
    backbone = load("huggingface:some/model")
    assert backbone.card.revision == commit
    assert backbone.card.name == "huggingface:some/model"
    assert load(f"huggingface:some/model@{commit}").card.weights_sha256 == backbone.card.weights_sha256


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("backbones.adapters.huggingface")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"uv sync --extra huggingface"):
        load("huggingface:some/model")
