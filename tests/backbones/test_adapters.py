"""One suite over all adapters: every promise of the contract, on tiny models, offline."""

import copy
import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from backbones.base import FAMILIES, Backbone, Classifier, freeze
from backbones.catalogue import load
from backbones.places import Places
from backbones.weights import weights_sha256

FILE = """
import torch
from torch import nn

PREPROCESS = {"size": (48, 64), "resize": 64}

def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""
CARD = """
name: tiny
weights: tiny.pth
library: timm
architecture: test_efficientnet
preprocess: {size: 64, resize: 72, interpolation: bilinear, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
family: supervised
pretraining: {method: supervised, data: noise}
licence: mit
revision: "1"
"""
NAMES = [
    "pixels",
    "random:timm:test_resnet",
    "random:timm:test_convnext",
    "random:timm:test_vit",
    "random:torchvision:squeezenet1_1",
    "random:torchvision:shufflenet_v2_x0_5",
    "random:torchvision:resnet18",
    "checkpoint:tiny.yaml",
    "random:checkpoint:tiny.yaml",
    "file:mine.py:plain",
]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    import timm

    folder = tmp_path_factory.mktemp("sources")
    (folder / "mine.py").write_text(FILE)
    (folder / "tiny.yaml").write_text(CARD)
    torch.manual_seed(0)
    torch.save(timm.create_model("test_efficientnet").state_dict(), folder / "tiny.pth")
    return Places((folder,))


@pytest.fixture(scope="module")
def loaded(places: Places) -> Callable[[str], Backbone]:
    kept: dict[str, Backbone] = {}
    return lambda name: copy.deepcopy(kept.setdefault(name, kept.get(name) or load(name, places)))


def images(backbone: Backbone, batch: int = 3) -> Tensor:
    return torch.randn(batch, 3, *backbone.preprocess.size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES)
def test_embeds_one_vector_an_image_whatever_the_batch(name: str, loaded: Callable[[str], Backbone]) -> None:
    backbone = freeze(loaded(name))
    batch = images(backbone)
    together = backbone.embed(batch)
    assert together.shape[0] == 3
    assert together.isfinite().all()
    assert torch.equal(together, backbone(batch))
    alone = torch.cat([backbone.embed(image[None]) for image in batch])
    torch.testing.assert_close(alone, together, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_arrives_in_evaluation_mode_and_use_changes_nothing(name: str, loaded: Callable[[str], Backbone]) -> None:
    backbone = loaded(name)
    assert not any(module.training for module in backbone.modules())
    before = weights_sha256(backbone)
    with torch.no_grad():
        first = backbone.embed(images(backbone))
        assert torch.equal(backbone.embed(images(backbone)), first)
    assert weights_sha256(backbone) == before


@pytest.mark.parametrize("name", NAMES)
def test_loads_the_same_twice_and_leaves_the_generator_alone(name: str, places: Places) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = load(name, places)
    if not name.startswith("file:"):  # a file's factory may do with the generator as it likes
        assert torch.equal(torch.rand(3), expected)
    assert load(name, places).card == one.card


@pytest.mark.parametrize("name", NAMES)
def test_card_is_complete(name: str, loaded: Callable[[str], Backbone]) -> None:
    backbone = loaded(name)
    card = backbone.card
    assert all(getattr(card, field.name) or field.name == "parameters" for field in fields(card))
    assert card.family in FAMILIES
    assert len(card.weights_sha256) == 64
    assert card.parameters == sum(p.numel() for _, group in backbone.layers() for p in group)
    assert min(backbone.preprocess.size) <= backbone.preprocess.resize


@pytest.mark.parametrize("name", NAMES)
def test_layers_hold_each_trunk_parameter_once_and_all_learn(name: str, loaded: Callable[[str], Backbone]) -> None:
    backbone = loaded(name)
    grouped = [parameter for _, group in backbone.layers() for parameter in group]
    names = [layer for layer, _ in backbone.layers()]
    assert len({id(parameter) for parameter in grouped}) == len(grouped)
    assert len(set(names)) == len(names)
    if not grouped:
        return
    backbone.embed(images(backbone)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in grouped)
    outside = {id(p) for p in backbone.parameters()} - {id(p) for p in grouped}
    assert all(p.grad is None for p in backbone.parameters() if id(p) in outside)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("file:")])
@pytest.mark.parametrize("size", [(224, 224), (160, 230)])
def test_maps_are_the_image_over_the_stride_rounded_up(
    name: str, size: tuple[int, int], loaded: Callable[[str], Backbone]
) -> None:
    backbone = freeze(loaded(name))
    maps = backbone.feature_maps(torch.randn(1, 3, *size))
    assert maps
    assert list(maps) == sorted(maps)
    for stride, features in maps.items():
        assert features.shape[2:] == (math.ceil(size[0] / stride), math.ceil(size[1] / stride))
        assert features.isfinite().all()


HEADS = [name for name in NAMES if name.startswith(("random:timm", "random:torchvision"))]


@pytest.mark.parametrize("name", HEADS)
def test_head_gives_the_librarys_own_logits(name: str, loaded: Callable[[str], Backbone]) -> None:
    backbone = freeze(loaded(name))
    assert isinstance(backbone, Classifier)
    assert (len(backbone.classes), backbone.classes[0]) == (1000, "n01440764")
    batch = images(backbone)
    assert torch.equal(backbone.classify(batch), backbone.model(batch))  # type: ignore[operator]


@pytest.mark.parametrize("name", ["pixels", "checkpoint:tiny.yaml", "file:mine.py:plain"])
def test_no_head_where_no_classes_are_known(name: str, loaded: Callable[[str], Backbone]) -> None:
    assert not isinstance(loaded(name), Classifier)


def test_embedding_is_what_the_classifier_gets(loaded: Callable[[str], Backbone]) -> None:
    for name, head in {"random:torchvision:resnet18": "fc", "random:timm:test_resnet": "fc"}.items():
        backbone = freeze(loaded(name))
        batch = images(backbone)
        logits = backbone.model.get_submodule(head)(backbone.embed(batch))  # type: ignore[union-attr]
        torch.testing.assert_close(logits, backbone.classify(batch))  # type: ignore[operator]


def test_timm_preprocess_is_timms_own_transform() -> None:
    from timm.data import create_transform, resolve_data_config
    from timm.models import get_pretrained_cfg

    backbone = load("random:timm:resnet50.tv2_in1k")
    config = resolve_data_config(pretrained_cfg=get_pretrained_cfg("resnet50.tv2_in1k").to_dict())
    resize, crop, _, normalise = create_transform(**config).transforms
    assert (resize.size, tuple(crop.size)) == (backbone.preprocess.resize, backbone.preprocess.size)
    assert resize.interpolation.value == backbone.preprocess.interpolation
    assert normalise.mean.tolist() == pytest.approx(backbone.preprocess.mean)
    assert normalise.std.tolist() == pytest.approx(backbone.preprocess.std)


def test_vision_transformer_of_any_size_is_timms_at_its_own() -> None:
    import timm

    backbone = freeze(load("random:timm:test_vit2"))
    plain = timm.create_model("test_vit2").eval()
    plain.load_state_dict(backbone.model.state_dict())  # type: ignore[union-attr]
    batch = images(backbone, 1)
    torch.testing.assert_close(backbone.classify(batch), plain(batch))  # type: ignore[operator]


TINY_VIT = {"embed_dim": 32, "depth": 2, "num_heads": 2}


@pytest.mark.parametrize(
    ("architecture", "kwargs"),
    [
        ("deit_tiny_distilled_patch16_224", TINY_VIT),
        ("deit3_small_patch16_224", TINY_VIT),
        ("eva02_tiny_patch14_224", TINY_VIT),
        ("vit_pe_core_tiny_patch16_384", TINY_VIT),
    ],
)
@torch.no_grad()
def test_the_form_of_any_size_is_the_fixed_one_at_its_own(architecture: str, kwargs: dict[str, object]) -> None:
    import timm

    from backbones.adapters import timm_models

    plain = timm.create_model(architecture, **kwargs).eval()
    for parameter in plain.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    model = timm_models.build(architecture, kwargs, Places()).eval()
    assert getattr(model, "dynamic_img_size", False)
    assert not getattr(plain, "dynamic_img_size", False)
    model.load_state_dict(plain.state_dict())
    batch = torch.randn(1, 3, *plain.pretrained_cfg["input_size"][1:])
    torch.testing.assert_close(model(batch), plain(batch), rtol=1e-4, atol=1e-4)


def test_a_torchvision_transformer_of_another_size_has_its_positions_interpolated() -> None:
    from torchvision import models

    from backbones.adapters.torchvision_trunk import transformer_map

    small = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 16}
    model = models.VisionTransformer(64, 16, **small).eval()
    own = torch.randn(2, 3, 64, 64)
    found: list[Tensor] = []
    model.encoder.register_forward_hook(lambda module, inputs, output: found.append(output[:, 1:]))
    model(own)
    assert torch.equal(transformer_map(model, own), found[0].transpose(1, 2).reshape(2, 16, 4, 4))
    larger = models.VisionTransformer(128, 16, **small).eval()
    state = model.state_dict()
    learnt = nn.init.normal_(state["encoder.pos_embedding"])
    grid = learnt[:, 1:].transpose(1, 2).reshape(1, 16, 4, 4)
    resized = nn.functional.interpolate(grid, (8, 8), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    larger.load_state_dict({**state, "encoder.pos_embedding": torch.cat([learnt[:, :1], resized], 1)})
    own = torch.randn(2, 3, 128, 128)
    larger.encoder.register_forward_hook(lambda module, inputs, output: found.append(output[:, 1:]))
    larger(own)
    expected = found[-1].transpose(1, 2).reshape(2, 16, 8, 8)
    torch.testing.assert_close(transformer_map(model, own), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256"])
def test_a_swin_of_any_size_is_timms_at_its_own_and_at_others(name: str) -> None:
    """At a larger one too, but for shifts where one window saw all (the last stage's are left out here)."""
    import timm

    from backbones.adapters import timm_models

    small = {"embed_dim": 16, "depths": (2, 2, 2, 1), "num_heads": (1, 2, 4, 8), "num_classes": 0}
    twin, model = load("random:timm:test_vit"), timm_models.build(name, small, Places())
    backbone = freeze(timm_models.wrap(model, twin.card, twin.preprocess))
    for height, width in ((224, 224) if "v2" not in name else (256, 256), (288, 320)):
        plain = timm.create_model(
            name, **small, img_size=(height, width), window_size=(8 if "v2" in name else 7)
        ).eval()
        missing, unexpected = plain.load_state_dict(model.state_dict(), strict=False)
        assert not unexpected
        assert all("mask" in each or "coords" in each for each in missing)
        batch = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))
        expected = plain.forward_intermediates(batch, intermediates_only=True, output_fmt="NCHW")  # type: ignore[operator]
        for (stride, found), other in zip(backbone.feature_maps(batch).items(), expected, strict=True):
            assert found.shape[2:] == (-(-height // stride), -(-width // stride))
            torch.testing.assert_close(found, other)
        torch.testing.assert_close(backbone.embed(batch), plain(batch))
    assert {stride: each.shape[2:] for stride, each in backbone.feature_maps(torch.randn(1, 3, 90, 97)).items()} == {
        4: (23, 25), 8: (12, 13), 16: (6, 7), 32: (3, 4)
    }  # fmt: skip


def test_a_size_that_is_no_multiple_of_the_patch_is_what_timm_was_trained_on() -> None:
    """vit_so400m_patch14_siglip_384 sees 27 patches of its 384 pixels, and with padding would see 28."""
    import timm

    from backbones.adapters import timm_models

    small = {"img_size": 40, "patch_size": 14, "embed_dim": 32, "depth": 2, "num_heads": 2}
    plain = timm.create_model("vit_small_patch14_reg4_dinov2", **small, num_classes=5).eval()
    model = timm_models.build("vit_small_patch14_reg4_dinov2", {**small, "num_classes": 5}, Places())
    model.load_state_dict(plain.state_dict())
    twin = load("random:timm:test_vit")
    backbone = freeze(timm_models.wrap(model, twin.card, twin.preprocess, ("a", "b", "c", "d", "e")))
    batch = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(backbone.classify(batch), plain(batch))  # type: ignore[operator]
    plain.reset_classifier(0)
    torch.testing.assert_close(backbone.embed(batch), plain(batch))
    assert backbone.feature_maps(batch)[14].shape == (2, 32, 3, 3)


def test_models_that_timm_gives_no_order_have_that_of_their_stages() -> None:
    from backbones.adapters import timm_models

    with torch.device("meta"):
        model = timm_models.build("caformer_s18", {}, Places())
    assert not hasattr(model, "group_matcher")  # once it has one, nothing of ours is needed
    groups = timm_models.by_depth(model)
    blocks = [(stage, block) for stage, depth in enumerate((3, 3, 9, 3)) for block in range(depth)]
    named = {id(parameter): name for name, parameter in model.named_parameters()}
    first = [("stem.",)]
    middle = [
        (f"stages.{stage}.blocks.{block}.", f"stages.{stage}.downsample." * (block == 0)) for stage, block in blocks
    ]
    starts = [*first, *(tuple(filter(None, each)) for each in middle), ("head.norm",)]
    assert len(groups) == len(starts)
    for (_, group), start in zip(groups, starts, strict=True):
        assert all(named[id(parameter)].startswith(start) for parameter in group), (start, group)


@pytest.mark.parametrize("kind", ["swin", "vit"])
def test_torchvision_transformers_give_tokens_as_maps(kind: str) -> None:
    from torchvision import models

    from backbones.adapters import torchvision_models

    if kind == "swin":
        model = models.SwinTransformer([4, 4], embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=[7, 7])
    else:
        model = models.VisionTransformer(64, 16, num_layers=1, num_heads=1, hidden_dim=8, mlp_dim=8)
    twin = load("random:timm:test_vit")
    backbone = freeze(torchvision_models.wrap(model, twin.card, twin.preprocess))
    batch = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    maps = backbone.feature_maps(batch)
    assert {stride: tuple(each.shape) for stride, each in maps.items()} == (
        {4: (2, 8, 16, 16), 8: (2, 16, 8, 8)} if kind == "swin" else {16: (2, 8, 4, 4)}
    )
    assert backbone.embed(batch).shape == (2, 16 if kind == "swin" else 8)
    if kind == "swin":  # its embedding is the mean of its normalised last map
        pooled = model.norm(maps[8].permute(0, 2, 3, 1)).mean((1, 2))
        torch.testing.assert_close(backbone.embed(batch), pooled)


def test_random_seed_is_part_of_who_it_is() -> None:
    zero, one = load("random:timm:test_vit"), load("random:timm:test_vit@1")
    assert zero.card.weights_sha256 != one.card.weights_sha256
    assert (zero.card.family, one.card.name) == ("random", f"{zero.card.name}@1")


def test_random_twin_of_a_card_needs_no_weights(places: Places) -> None:
    trained, twin = load("checkpoint:tiny.yaml", places), load("random:checkpoint:tiny.yaml", places)
    assert (trained.preprocess, trained.card.parameters) == (twin.preprocess, twin.card.parameters)
    card = places.roots[0] / "elsewhere" / "card.yaml"
    card.parent.mkdir(exist_ok=True)
    card.write_text(CARD.replace("tiny.pth", "nowhere.pth"))
    assert load(f"random:checkpoint:{card}", Places()).card.weights_sha256 == twin.card.weights_sha256


def test_weights_that_cannot_be_fetched_say_which_and_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import socket
    import time

    def no_address(*_: object, **__: object) -> None:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("backbones.adapters.hub.getproxies", dict)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    start = time.monotonic()
    for name in ("timm:test_vit", "torchvision:squeezenet1_1"):
        with pytest.raises(OSError, match=r"cannot fetch the weights of .*checkpoint:CARD\.yaml") as caught:
            load(name)
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("timm:resnt50.a1_in1k", r"did you mean 'resnet50\.a1_in1k'"),
        ("timm:resnet18.a9_in1k", r"did you mean 'resnet18\."),
        ("timm:vit_tiny_patch14_dinov2x", "unknown timm model"),
        ("torchvision:resnet51", "did you mean 'resnet50'|did you mean 'resnet"),
        ("torchvision:resnet50.IMAGENET1K_V3", "IMAGENET1K_V2"),
        ("random:pixels", "unknown source of a random twin 'pixels'"),
        ("pixels:64", "takes nothing after it"),
        ("file:mine.py", "write file:PATH.py:FACTORY"),
        ("file:mine.py:pla1n", "did you mean 'plain'"),
        ("squeeznet", "did you mean 'squeezenet'"),
    ],
)
def test_unknown_names_get_suggestions(name: str, answer: str, places: Places) -> None:
    with pytest.raises(ValueError, match=answer):
        load(name, places)


@pytest.mark.parametrize("output", ["images", "images.flatten(1)[:1]", "[images]", "images.flatten(1).long()"])
def test_wrong_outputs_of_a_users_module_name_the_contract(output: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(
        f"from torch import nn\nclass Wrong(nn.Module):\n    def forward(self, images):\n        return {output}\n"
    )
    backbone = load("file:wrong.py:Wrong", Places((tmp_path,)))
    with pytest.raises(ValueError, match=r"file:wrong\.py:Wrong returned .*\(batch, dim\)"):
        backbone.embed(torch.randn(2, 3, 8, 8))


def test_users_module_says_where_it_has_no_maps_and_no_preprocessing(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from torch import nn\nbuild = nn.Flatten\ndef number():\n    return 3\n")
    backbone = load("file:mine.py:build", Places((tmp_path,)))
    with pytest.raises(NotImplementedError, match=r"mine\.py:build"):
        backbone.feature_maps(torch.zeros(1, 3, 8, 8))
    assert "states no preprocessing" in backbone.card.source
    with pytest.raises(ValueError, match=r"number\(\) of .*mine\.py returned a int"):
        load("file:mine.py:number", Places((tmp_path,)))


def test_changed_text_of_a_users_file_is_another_backbone(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from torch import nn\nbuild = nn.Flatten\n")
    before = load("file:mine.py:build", Places((tmp_path,))).card.weights_sha256
    path.write_text("from torch import nn\nbuild = nn.Flatten  # changed\n")
    assert load("file:mine.py:build", Places((tmp_path,))).card.weights_sha256 != before


def test_users_own_backbone_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "from backbones.base import Backbone, Preprocess\n"
        "CARD = {'family': 'self-supervised', 'licence': 'mit'}\n"
        "class Mine(Backbone):\n"
        "    preprocess = Preprocess((32, 32), 32, 'squash', 'bilinear', (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))\n"
        "    def embed(self, images):\n"
        "        return images.mean((2, 3))\n"
        "    def feature_maps(self, images):\n"
        "        return {1: images}\n"
        "    def layers(self):\n"
        "        return []\n"
    )
    backbone = load("file:mine.py:Mine", Places((tmp_path,)))
    assert (backbone.card.family, backbone.card.licence, backbone.card.source) == ("self-supervised", "mit", "a file")
    assert backbone.preprocess.size == (32, 32)
    assert backbone.embed(torch.ones(2, 3, 8, 8)).tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize("statistics", ["'mean': (123.7, 116.3, 103.5)", "'std': (58.4, 57.1, 57.4)", "'std': 0.5"])
def test_statistics_that_are_not_of_pixels_in_0_to_1_are_refused(statistics: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"from torch import nn\nbuild = nn.Flatten\nPREPROCESS = {{{statistics}}}\n")
    with pytest.raises(ValueError, match=r"PREPROCESS of .*mine\.py: "):
        load("file:mine.py:build", Places((tmp_path,)))


@pytest.mark.parametrize(
    "line", ["PREPROCESS = {'sise': 3}", "CARD = {'family': 'supervized'}", "CARD = {'name': 'x'}"]
)
def test_wrong_statements_of_a_users_file_are_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"from torch import nn\nbuild = nn.Flatten\n{line}\n")
    with pytest.raises(ValueError, match=r"(PREPROCESS|CARD) of .*mine\.py must be a dictionary of"):
        load("file:mine.py:build", Places((tmp_path,)))
