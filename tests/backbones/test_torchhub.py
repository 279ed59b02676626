"""Checkpoints of ``torchhub.yaml``, written here in their authors' own layouts by hand, against their own modules."""

import http.server
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, pad
from torchvision.models.resnet import Bottleneck, ResNet, resnet50

from backbones.adapters import timm_models, torchhub
from backbones.adapters.hub import download
from backbones.base import Backbone, freeze
from backbones.catalogue import load
from backbones.places import Places
from backbones.weights import load_strictly, renamed

State = dict[str, Tensor]
LAYERS = [1, 2, 1, 1]


def shaken(model: nn.Module) -> Any:
    """Every parameter and statistic somewhere else than its initialisation, so that none can be mistaken or lost."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator) - 0.5
                tensor.mul_(1 + 0.2 * noise).add_(0.02 * noise)
    return model.eval()


def shrink(name: str, monkeypatch: pytest.MonkeyPatch, **kwargs: Any) -> None:
    """The same card of a smaller architecture; the real one is checked for every weight below."""
    card = torchhub.named(name)
    monkeypatch.setitem(torchhub.cards(), name, card.model_copy(update={"kwargs": {**card.kwargs, **kwargs}}))


def embedded(name: str, folder: Path, images: Tensor) -> Tensor:
    with torch.no_grad():
        return freeze(load(f"torchhub:{name}", Places((folder,)))).embed(images)


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


@pytest.fixture(scope="module")
def resnet() -> Any:
    model = ResNet(Bottleneck, LAYERS)
    model.fc = nn.Identity()
    return shaken(model)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dino_resnet50", "vicreg_resnet50", "mocov3_resnet50"):
        shrink(name, monkeypatch, layers=LAYERS)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))


@pytest.mark.usefixtures("small")
@torch.no_grad()
def test_dino(resnet: Any, images: Tensor, tmp_path: Path) -> None:
    torch.save(resnet.state_dict(), tmp_path / "dino_resnet50_pretrain.pth")
    close(embedded("dino_resnet50", tmp_path, images), resnet(images))


@pytest.mark.usefixtures("small")
@torch.no_grad()
def test_vicreg_pads_its_stem_in_two_steps(resnet: Any, images: Tensor, tmp_path: Path) -> None:
    torch.save(resnet.state_dict(), tmp_path / "vicreg_resnet50.pth")
    before, resnet.conv1.padding = resnet.conv1.padding, (2, 2)
    expected = resnet(pad(images, (1, 1, 1, 1)))
    resnet.conv1.padding = before
    close(embedded("vicreg_resnet50", tmp_path, images), expected)


def moco(encoder: State, head: str) -> dict[str, Any]:
    """The training script's checkpoint: two encoders with a projector each, a predictor, the optimiser's state."""
    projector = {f"{head}.0.weight": torch.ones(2, 2), f"{head}.1.running_mean": torch.ones(2)}
    state = {"module.predictor.0.weight": torch.ones(2, 2)}
    for name, value in {**encoder, **projector}.items():
        state[f"module.base_encoder.{name}"] = value
        state[f"module.momentum_encoder.{name}"] = value + 1 if value.is_floating_point() else value
    return {"epoch": 300, "arch": "vit", "state_dict": state, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}


@pytest.mark.usefixtures("small")
@torch.no_grad()
def test_mocov3_resnet(resnet: Any, images: Tensor, tmp_path: Path) -> None:
    torch.save(moco(resnet.state_dict(), "fc"), tmp_path / "r-50-1000ep.pth.tar")
    close(embedded("mocov3_resnet50", tmp_path, images), resnet(images))


def moco_transformer(width: int, heads: int, depth: int = 12) -> Any:
    """Its authors' class is timm's, with these arguments and fixed position embeddings."""
    norm = timm.layers.LayerNorm
    return timm.models.VisionTransformer(
        patch_size=16, embed_dim=width, depth=depth, num_heads=heads, num_classes=0, norm_layer=norm
    )


@pytest.mark.parametrize(
    ("name", "file", "width"), [("small", "vit-s-300ep.pth.tar", 384), ("base", "vit-b-300ep.pth.tar", 768)]
)
@torch.no_grad()
def test_mocov3_transformers_have_twelve_heads(
    name: str, file: str, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(f"mocov3_vit_{name}", monkeypatch, depth=2)

    def own(heads: int) -> Any:
        return moco_transformer(width, heads, depth=2)

    model, images = shaken(own(12)), torch.randn(1, 3, 224, 224)
    torch.save(moco(model.state_dict(), "head"), tmp_path / file)
    found = embedded(f"mocov3_vit_{name}", tmp_path, images)
    close(found, model(images))
    other = own(6).eval()  # the 2023 study's mistake: the same weights load without a word
    other.load_state_dict(model.state_dict())
    assert not torch.allclose(found, other(images), rtol=1e-2)


class Block(nn.Module):
    """A ConvNeXt block as its authors name its parts, without LayerScale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, features: Tensor) -> Tensor:
        hidden = self.norm(self.dwconv(features).permute(0, 2, 3, 1))
        changed: Tensor = self.pwconv2(nn.functional.gelu(self.pwconv1(hidden)))
        return features + changed.permute(0, 3, 1, 2)


class ChannelNorm(nn.LayerNorm):
    def forward(self, features: Tensor) -> Tensor:
        last = layer_norm(features.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return last.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Its authors' layout; as VICRegL pools it: the norm of every position, then the mean."""

    def __init__(self, depths: list[int], widths: list[int]) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, stride=4), ChannelNorm(widths[0], eps=1e-6))
        between = [
            nn.Sequential(ChannelNorm(one, eps=1e-6), nn.Conv2d(one, other, 2, stride=2))
            for one, other in pairwise(widths)
        ]
        self.downsample_layers = nn.ModuleList([stem, *between])
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(depth))) for depth, width in zip(depths, widths, strict=True)
        )
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)

    def forward(self, images: Tensor) -> Tensor:
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            images = stage(downsample(images))
        normalised: Tensor = self.norm(images.flatten(2).transpose(1, 2))
        return normalised.mean(1)


@torch.no_grad()
def test_vicregl_normalises_before_it_pools(images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    depths, widths = [1, 2, 3, 1], [8, 16, 24, 32]
    shrink("vicregl_convnext_xlarge", monkeypatch, depths=depths, dims=widths)
    model = shaken(ConvNeXt(depths, widths))
    torch.save(model.state_dict(), tmp_path / "vicregl_convnext_xlarge_alpha0.75.pth")
    close(embedded("vicregl_convnext_xlarge", tmp_path, images), model(images))


def midas(trunk: State) -> State:
    """As timm 0.6.12 saved it: a stage's downsampling ends the stage before, attention masks and classifier saved."""
    place = {"layers.1.downsample": "layers.0.downsample", "layers.2.downsample": "layers.1.downsample"}
    place["layers.3.downsample"] = "layers.2.downsample"
    state = {"scratch.layer1_rn.weight": torch.ones(1), "pretrained.model.head.weight": torch.ones(1)}
    for name, value in trunk.items():
        stem = ".".join(name.split(".")[:3])
        state[f"pretrained.model.{name.replace(stem, place.get(stem, stem))}"] = value
    for layer in (0, 1):
        state[f"pretrained.model.layers.{layer}.blocks.1.attn_mask"] = torch.ones(1)
    return state


@torch.no_grad()
def test_midas_tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smaller = {"embed_dim": 24, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8)}
    shrink("midas_swinv2_tiny_256", monkeypatch, **smaller)
    model = shaken(timm.create_model("swinv2_tiny_window16_256", num_classes=0, **smaller))
    torch.save(midas(model.state_dict()), tmp_path / "dpt_swin2_tiny_256.pt")
    batch = torch.randn(1, 3, 256, 256)
    backbone = freeze(load("torchhub:midas_swinv2_tiny_256", Places((tmp_path,))))
    close(backbone.embed(batch), model(batch))
    assert (backbone.card.family, backbone.preprocess.crop, backbone.preprocess.mean) == ("depth", "squash", (0.5,) * 3)
    maps = backbone.feature_maps(torch.randn(1, 3, 320, 192))  # any size its windows can be padded to
    assert {stride: tuple(each.shape) for stride, each in maps.items()} == {
        4: (1, 24, 80, 48), 8: (1, 48, 40, 24), 16: (1, 96, 20, 12), 32: (1, 192, 10, 6)
    }  # fmt: skip


def headless(model: nn.Module) -> State:
    return {name: value for name, value in model.state_dict().items() if not name.startswith("fc.")}


def swin(name: str) -> State:
    return midas(timm.create_model(name, num_classes=0).state_dict())


REAL: dict[str, tuple[Callable[[], State], str]] = {
    "dino_resnet50": (lambda: headless(resnet50()), "23.5"),
    "vicreg_resnet50": (lambda: headless(resnet50()), "23.5"),
    "vicregl_convnext_xlarge": (lambda: ConvNeXt([3, 3, 27, 3], [256, 512, 1024, 2048]).state_dict(), "348.1"),
    "mocov3_resnet50": (lambda: moco(headless(resnet50()), "fc")["state_dict"], "23.5"),
    "mocov3_vit_small": (lambda: moco(moco_transformer(384, 12).state_dict(), "head")["state_dict"], "21.7"),
    "mocov3_vit_base": (lambda: moco(moco_transformer(768, 12).state_dict(), "head")["state_dict"], "85.8"),
    "midas_swinv2_tiny_256": (lambda: swin("swinv2_tiny_window16_256"), "27.6"),
    "midas_swinv2_base_384": (lambda: swin("swinv2_base_window12to24_192to384"), "86.9"),
}
"""Layouts at the real size, and the parameters (in millions) that the 2023 study's table has."""


@pytest.mark.parametrize("name", REAL)
def test_every_weight_at_the_real_size(name: str) -> None:
    card, (layout, millions) = torchhub.named(name), REAL[name]
    with torch.device("meta"):
        architecture = timm_models.build(card.architecture, card.kwargs, Places())
        load_strictly(architecture, renamed(layout(), card.rename), card.unexpected)
    assert f"{timm_models.trunk_parameters(architecture) / 1e6:.1f}" == millions


def test_all_cards_but_torchscript_are_checked_at_their_real_size() -> None:
    assert set(REAL) == {name for name, card in torchhub.cards().items() if card.library != "torchscript"}


def _lose(state: State) -> None:
    del state["layer4.0.bn3.bias"]


def _gain(state: State) -> None:
    state["fc.weight"] = torch.ones(1000, 2048)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("change", "answer"), [(_lose, r"1 missing .*layer4\.0\.bn3\.bias"), (_gain, r"1 unexpected .*fc\.weight")]
)
def test_another_layout_is_refused(change: Callable[[State], None], answer: str, resnet: Any, tmp_path: Path) -> None:
    state = resnet.state_dict()
    change(state)
    torch.save(state, tmp_path / "dino_resnet50_pretrain.pth")
    with pytest.raises(ValueError, match=f"torchhub:dino_resnet50: the weights do not fit: .*{answer}"):
        load("torchhub:dino_resnet50", Places((tmp_path,)))


def test_rules_that_do_nothing_or_merge_names_are_refused() -> None:
    state = {"a.weight": torch.ones(1), "b.weight": torch.zeros(1)}
    assert list(renamed(state, [("^a", "c"), ("^c", "d")])) == ["d.weight", "b.weight"]
    with pytest.raises(ValueError, match=r"rule 'module' changes no name"):
        renamed(state, [("module", "")])
    with pytest.raises(ValueError, match=r"two weights the name 'b\.weight'"):
        renamed(state, [("^a", "b")])


def test_unknown_names_get_suggestions_and_twins_need_no_file() -> None:
    with pytest.raises(ValueError, match="unknown torchhub checkpoint 'dino_resnet5'; did you mean 'dino_resnet50'"):
        load("torchhub:dino_resnet5")
    twin = load("random:torchhub:mocov3_vit_small", Places(()))
    assert (twin.card.family, twin.card.name) == ("random", "random:torchhub:mocov3_vit_small")
    with pytest.raises(ValueError, match="no untrained twin"):
        load("random:torchhub:sscd_disc_mixup")


class Descriptor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 5)

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.normalize(self.linear(images.mean([2, 3])), dim=1)


class Other(Descriptor):
    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.normalize(self.linear(images.amax([2, 3])), dim=1)


def scripted(module: nn.Module, folder: Path) -> None:
    torch.jit.save(torch.jit.script(module), folder / "sscd_disc_mixup.torchscript.pt")  # type: ignore[no-untyped-call]


def sscd(folder: Path) -> Backbone:
    return freeze(load("torchhub:sscd_disc_mixup", Places((folder,), trust=True)))


def test_torchscript_is_read_on_trust_only_and_says_so(images: Tensor, tmp_path: Path) -> None:
    module = Descriptor()
    scripted(module, tmp_path)
    with pytest.raises(ValueError, match=r"sscd_disc_mixup\.torchscript\.pt is torchscript: .* allow it with --trust"):
        load("torchhub:sscd_disc_mixup", Places((tmp_path,)))
    backbone = sscd(tmp_path)
    assert torch.equal(backbone.embed(images), module(images))
    assert "TorchScript, run on trust" in backbone.card.source
    assert backbone.card.parameters == sum(p.numel() for _, group in backbone.layers() for p in group) == 20
    assert backbone.preprocess.size == (320, 320)
    with pytest.raises(NotImplementedError, match="sscd_disc_mixup"):
        backbone.feature_maps(images)


def test_identity_of_torchscript_covers_its_code(tmp_path: Path) -> None:
    module, other = Descriptor(), Other()
    other.load_state_dict(module.state_dict())
    scripted(module, tmp_path)
    before = sscd(tmp_path).card.weights_sha256
    scripted(other, tmp_path)
    assert sscd(tmp_path).card.weights_sha256 != before


class Payload:
    """A pickle that leaves a mark when it is run."""

    def __init__(self, mark: Path, state: State) -> None:
        self.mark, self.state = mark, state

    def __reduce__(self) -> tuple[Any, ...]:
        return (_run, (str(self.mark), self.state))


def _run(mark: str, state: State) -> State:
    Path(mark).touch()
    return state


@pytest.mark.usefixtures("small")
def test_pickles_run_on_trust_only_and_say_so(resnet: Any, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    torch.save(Payload(mark, resnet.state_dict()), tmp_path / "dino_resnet50_pretrain.pth")
    with pytest.raises(ValueError, match=r"Reading it in full could run code: refused; .*--trust") as caught:
        load("torchhub:dino_resnet50", Places((tmp_path,)))
    assert "\n" not in str(caught.value)
    assert not mark.exists()
    card = load("torchhub:dino_resnet50", Places((tmp_path,), trust=True)).card
    assert mark.exists()
    assert card.source.endswith("(weights unpickled on trust)")
    torch.save(resnet.state_dict(), tmp_path / "dino_resnet50_pretrain.pth")
    plain = load("torchhub:dino_resnet50", Places((tmp_path,), trust=True)).card
    assert "trust" not in plain.source  # nothing had to be trusted
    assert plain.weights_sha256 == card.weights_sha256


def test_damaged_file_is_one_line_even_on_trust(tmp_path: Path) -> None:
    (tmp_path / "dino_resnet50_pretrain.pth").write_bytes(b"not a checkpoint")
    for trust in (False, True):
        with pytest.raises(ValueError, match="torchhub:dino_resnet50: ") as caught:
            load("torchhub:dino_resnet50", Places((tmp_path,), trust))
        assert "\n" not in str(caught.value)


class Server(http.server.BaseHTTPRequestHandler):
    """``/whole`` gives what it announces; ``/short`` breaks off half-way."""

    def do_GET(self) -> None:
        body = b"weights" * 1000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/short" else body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_downloads_are_whole_or_not_there(address: str, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.pth"
    with pytest.raises(OSError, match=r"broke off after 3,500 of 7,000 bytes"):
        download(f"{address}/short", target)
    with pytest.raises(OSError, match="it is another file now"):
        download(f"{address}/whole", target, sha256="0" * 64)
    assert list(target.parent.iterdir()) == []
    download(f"{address}/whole", target)
    assert target.read_bytes() == b"weights" * 1000
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.usefixtures("small")
def test_fetches_into_torchs_cache_once(
    resnet: Any, images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source.pth"
    torch.save(resnet.state_dict(), source)
    card = torchhub.named("dino_resnet50").model_copy(update={"url": source.as_uri()})
    monkeypatch.setitem(torchhub.cards(), "dino_resnet50", card)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    first = load("torchhub:dino_resnet50", Places((tmp_path,))).card
    assert (tmp_path / "hub" / "checkpoints" / "dino_resnet50_pretrain.pth").exists()
    source.unlink()
    assert load("torchhub:dino_resnet50", Places((tmp_path,))).card == first


def test_no_network_is_one_line_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("backbones.adapters.hub.urlopen", no_network)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    card = torchhub.named("vicreg_resnet50")
    with pytest.raises(OSError, match="cannot fetch the weights of torchhub:vicreg_resnet50") as caught:
        load("torchhub:vicreg_resnet50")
    for part in (card.url, card.weights, str(tmp_path), "--data-root"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", torchhub.cards())
def test_cards_are_complete_and_name_their_own_file(name: str) -> None:
    card = torchhub.named(name)
    assert card.url.startswith("https://")
    assert sum(each.weights == card.weights for each in torchhub.cards().values()) == 1
    assert len({each.url for each in torchhub.cards().values()}) == len(torchhub.cards())
