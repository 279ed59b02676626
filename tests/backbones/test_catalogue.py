"""The catalogue's lines are true of the libraries they name, and its groups hold what they say."""

import re
import socket
from collections.abc import Callable

import open_clip
import pytest
import timm
import torch
from open_clip.pretrained import get_pretrained_cfg

from backbones.adapters import timm_models, timm_tags, torchvision_models
from backbones.base import FAMILIES
from backbones.catalogue import ADAPTERS, Entry, entries, expand, group, groups, left_out, load
from backbones.counts import read_count
from backbones.places import Places


def _of(source: str) -> list[Entry]:
    return [entry for entry in entries() if entry.name.startswith(f"{source}:")]


TIMM, TORCHVISION, OPEN_CLIP = _of("timm"), _of("torchvision"), _of("open_clip")
TWINS = _of("random:timm")
MEASURABLE = [*TIMM, *TORCHVISION, *OPEN_CLIP, *TWINS, *_of("random:torchvision")]
SIZES = {"tiny": 10e6, "small": 30e6, "base": 100e6, "large": float("inf")}
"""Parameters a size ends below, smallest first."""

ROWS_2023: dict[int, list[str]] = {
    1: ["timm:resnet50.a1_in1k", "timm:resnet50.tv_in1k"],
    2: ["timm:resnet101.a1h_in1k", "timm:resnet101.tv_in1k"],
    3: ["open_clip:RN50-quickgelu/openai"],
    4: ["open_clip:RN101-quickgelu/openai"],
    5: ["open_clip:RN50x64-quickgelu/openai"],
    6: ["torchhub:dino_resnet50"],
    7: ["torchhub:vicreg_resnet50"],
    8: ["torchhub:mocov3_resnet50"],
    9: ["torchhub:sscd_imagenet_mixup", "torchhub:sscd_disc_large"],
    10: ["timm:convnext_tiny.fb_in1k"],
    11: ["timm:convnext_small.fb_in1k"],
    12: ["timm:convnext_small.fb_in22k_ft_in1k"],
    13: ["timm:convnext_base.fb_in1k"],
    14: ["timm:convnext_base.fb_in22k"],
    15: ["timm:convnext_base.fb_in22k_ft_in1k"],
    16: ["timm:convnext_xlarge.fb_in22k_ft_in1k"],
    17: ["torchhub:vicregl_convnext_xlarge"],
    18: ["timm:swinv2_tiny_window8_256.ms_in1k"],
    19: ["timm:swinv2_base_window8_256.ms_in1k"],
    20: ["timm:swinv2_base_window12to16_192to256.ms_in22k_ft_in1k"],
    21: ["timm:swinv2_base_window12to24_192to384.ms_in22k_ft_in1k"],
    22: ["timm:swinv2_large_window12to16_192to256.ms_in22k_ft_in1k"],
    23: ["timm:swinv2_large_window12to24_192to384.ms_in22k_ft_in1k"],
    24: ["timm:vit_small_patch16_224.augreg_in1k"],
    25: ["timm:vit_small_patch16_224.augreg_in21k_ft_in1k"],
    26: ["timm:vit_base_patch16_224.augreg_in1k"],
    27: ["timm:vit_base_patch16_224.augreg_in21k_ft_in1k"],
    28: ["timm:vit_large_patch16_224.augreg_in21k_ft_in1k"],
    29: ["timm:deit_small_patch16_224.fb_in1k"],
    30: ["timm:deit_base_patch16_384.fb_in1k"],
    31: ["timm:vit_small_patch16_224.dino"],
    32: ["timm:vit_base_patch16_224.dino"],
    33: ["torchhub:mocov3_vit_small"],
    34: ["torchhub:mocov3_vit_base"],
    35: ["timm:vit_base_patch16_224.mae"],
    36: ["timm:vit_large_patch16_224.mae"],
    37: ["timm:vit_base_patch16_clip_224.laion2b"],
    38: ["timm:vit_large_patch14_clip_224.laion2b"],
    39: ["timm:samvit_base_patch16.sa1b"],
    40: ["torchhub:midas_swinv2_tiny_256"],
    41: ["torchhub:midas_swinv2_base_384"],
    42: ["diffusers:CompVis/stable-diffusion-v1-4"],
    43: [
        "random:timm:vit_small_patch16_224.augreg_in1k",
        "random:timm:vit_base_patch16_224.augreg_in1k",
        "random:timm:convnext_tiny.fb_in1k",
        "random:timm:convnext_base.fb_in1k",
        "random:timm:resnet50.a1_in1k",
        "random:timm:resnet101.a1h_in1k",
        "random:timm:swinv2_tiny_window8_256.ms_in1k",
        "random:timm:swinv2_base_window8_256.ms_in1k",
        "random:diffusers:CompVis/stable-diffusion-v1-4",
    ],
}
"""The 43 backbones of the study's configurations; where its parts used other weights of one name, each of them."""


def test_names_and_aliases_are_unique_and_lines_complete() -> None:
    names = [name for entry in entries() for name in (entry.name, entry.alias) if name]
    assert len(set(names)) == len(names)
    assert {entry.family for entry in entries()} == set(FAMILIES)
    assert all(entry.name.partition(":")[0] in ADAPTERS.found for entry in entries())
    optional = ("alias", "status")
    assert all(value for entry in entries() for field, value in vars(entry).items() if field not in optional)
    for entry in entries():
        assert entry.pretraining_images in ("none", "unknown") or read_count(entry.pretraining_images) > 1e5
        assert entry.parameters or entry.name == "pixels"


def test_all_of_2023_is_there() -> None:
    assert sorted(ROWS_2023) == list(range(1, 44))
    rows = [name for names in ROWS_2023.values() for name in names]
    assert sorted(entry.name for entry in group("bob2023")) == sorted(rows)
    # What the study counts: 33 rows of its retrieval table, 23 pretrained backbones in its detection configurations.
    assert (len(group("bob2023/retrieval")), len(group("bob2023/detection"))) == (33, 23)
    assert all("bob2023/random" in entry.groups for entry in group("bob2023") if entry.family == "random")


def test_modern_ones_are_many_and_of_every_family_and_size() -> None:
    assert len(group("modern")) >= 40
    assert {entry.family for entry in group("modern")} == set(FAMILIES) - {"random", "pixels"}
    assert all(len(group(f"modern/{size}")) >= 10 for size in SIZES)


def test_sizes_of_groups_are_those_of_their_entries() -> None:
    for name, members in groups().items():
        parent, _, size = name.partition("/")
        if not parent or size not in SIZES:
            continue
        for entry in members:
            assert next(each for each, end in SIZES.items() if entry.parameters < end) == size, entry


def test_a_group_holds_what_its_parts_hold_in_the_catalogues_order() -> None:
    order = {entry.name: place for place, entry in enumerate(entries())}
    for name, members in groups().items():
        places = [order[entry.name] for entry in members]
        assert places == sorted(set(places))
        parts = [entry for part, inner in groups().items() if part.startswith(f"{name}/") for entry in inner]
        assert {entry.name for entry in parts} <= {entry.name for entry in members}
    assert expand("group:bob2023")[:2] == ["timm:resnet50.a1_in1k", "timm:resnet50.tv_in1k"]
    assert expand("group:bob2023/large")[0] == "open_clip:RN50x64-quickgelu/openai"


def test_what_cannot_be_had_is_left_out_and_said() -> None:
    names = expand("group:bob2023/small")
    assert "torchhub:sscd_imagenet_mixup" in {entry.name for entry in group("bob2023/small")} - set(names)
    (line,) = left_out(["pixels", "group:bob2023/small", "group:nothing"])
    assert line.startswith("group:bob2023/small leaves out torchhub:sscd_imagenet_mixup: TorchScript")
    assert left_out(["group:tiny", "torchhub:sscd_imagenet_mixup"]) == []


def test_unknown_group() -> None:
    with pytest.raises(ValueError, match="unknown group 'bob2023/smal'; did you mean 'bob2023/small'"):
        expand("group:bob2023/smal")


@pytest.mark.parametrize("text", ["", "M", "12Q", "-3M", "1e6", "1_000", "٣M"])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(ValueError, match="write a number with K, M or B"):
        read_count(text)


@pytest.mark.parametrize("entry", TIMM + TWINS, ids=lambda entry: entry.name)
def test_timm_lines(entry: Entry) -> None:
    name = entry.name.removeprefix("random:").partition(":")[2]
    assert timm_models.pinned(name) == name
    architecture, _, tag = name.partition(".")
    assert name in timm.list_pretrained(f"{architecture}.*")
    config = timm.models.get_pretrained_cfg(name)
    assert (entry.architecture, entry.licence) == (architecture, config.license)
    assert entry.input == str(config.input_size[1])
    if entry in TIMM:
        said = timm_tags.describe({"architecture": architecture, "tag": tag})
        assert (entry.family, entry.pretraining_method) == (said.family, said.method)
        assert (entry.pretraining_data, entry.revision) == (said.data, tag)


def test_activation_is_the_one_trained_with() -> None:
    """Weights of OpenAI and some others give wrong features under plain GELU, and both libraries would load them."""
    for entry in TIMM:
        notes = timm.models.get_pretrained_cfg(entry.name.partition(":")[2]).notes or ()
        wants = any("natively QuickGELU" in note for note in notes)
        assert "quickgelu" in entry.name or not wants, entry
    for entry in OPEN_CLIP:
        architecture, _, tag = entry.name.partition(":")[2].partition("/")
        wants = get_pretrained_cfg(architecture, tag).get("quick_gelu", False)
        assert open_clip.get_model_config(architecture).get("quick_gelu", False) == wants, entry


@pytest.mark.parametrize("entry", OPEN_CLIP, ids=lambda entry: entry.name)
def test_open_clip_lines(entry: Entry) -> None:
    architecture, _, tag = entry.name.partition(":")[2].partition("/")
    assert (architecture, tag) in open_clip.list_pretrained()
    assert (entry.architecture, entry.revision) == (architecture, tag)
    assert entry.input == str(open_clip.get_model_config(architecture)["vision_cfg"]["image_size"])


@pytest.mark.parametrize("entry", TORCHVISION, ids=lambda entry: entry.name)
def test_torchvision_lines(entry: Entry) -> None:
    architecture, _, name = entry.name.partition(":")[2].partition(".")
    weights = torchvision_models.weights_of(f"{architecture}.{name}")[1]
    assert entry.input == str(torchvision_models.preprocess_of(weights).size[0])
    assert entry.revision == weights.url.rpartition("/")[2]


@pytest.mark.slow
@pytest.mark.parametrize("entry", MEASURABLE, ids=lambda entry: entry.name)
def test_parameters(entry: Entry) -> None:
    """Counted on a model without memory; of CLIPs the image tower, projection included."""
    source, _, reference = entry.name.removeprefix("random:").partition(":")
    with torch.device("meta"):
        if source == "open_clip":
            tower = open_clip.create_model(entry.architecture, pretrained=None, device="meta").visual
            parameters = sum(parameter.numel() for parameter in tower.parameters())
        elif source == "torchvision":
            parameters = torchvision_models.trunk_parameters(torchvision_models.build(entry.architecture, {}, Places()))
        else:
            model = timm_models.build(entry.architecture, {}, Places())
            parameters = timm_models.trunk_parameters(model)
            assert sum(each.numel() for _, group in timm_models.by_depth(model) for each in group) == parameters
    assert f"{parameters / 1e6:.1f}" == entry.parameters_m, reference


def test_revisions_of_hubs_say_that_they_are_not_pinned() -> None:
    for entry in entries():
        if entry.name.startswith(("huggingface:", "diffusers:")):
            assert re.fullmatch(r"[0-9a-f]{40}|.+ \(unpinned\)", entry.revision), entry
            assert entry.pinned == bool(re.fullmatch(r"[0-9a-f]{40}", entry.revision))


@pytest.mark.parametrize("name", expand("group:tiny"))
def test_tiny_ones_need_no_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError(f"{name} asks for the network")

    connect: Callable[..., None] = refuse
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    backbone = load(name)
    height, width = backbone.preprocess.size
    with torch.inference_mode():
        features = backbone.embed(torch.rand(2, 3, height, width))
    assert features.shape[0] == 2
    assert features.isfinite().all()
    assert backbone.card.parameters < 1e6
    if name == "pixels":  # the only one whose version is ours to count
        assert backbone.card.revision == next(entry.revision for entry in entries() if entry.name == name)
