"""Cards: what they load, what they refuse, and the figures of the real ones."""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor

from backbones.base import Backbone, Classifier, Preprocess, freeze
from backbones.catalogue import load
from backbones.certification import checks
from backbones.places import Places
from backbones.reference import reference_of

CARD = {
    "name": "tiny",
    "weights": "tiny.pth",
    "library": "timm",
    "architecture": "test_efficientnet",
    "kwargs": {"num_classes": 5},
    "preprocess": {"size": 64, "interpolation": "bilinear", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    "family": "supervised",
    "pretraining": {"method": "supervised", "data": "noise"},
    "licence": "mit",
    "revision": "1",
    "classes": ["a", "b", "c", "d", "e"],
}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    torch.manual_seed(0)
    torch.save(timm.create_model("test_efficientnet", num_classes=5).state_dict(), tmp_path / "tiny.pth")
    return Places((tmp_path,))


def write(places: Places, **changes: object) -> str:
    content = {key: value for key, value in {**CARD, **changes}.items() if value is not None}
    (places.roots[0] / "card.yaml").write_text(json.dumps(content))
    return "checkpoint:card.yaml"


def test_loads_the_librarys_own_model(places: Places) -> None:
    backbone = freeze(load(write(places), places))
    model = timm.create_model("test_efficientnet", num_classes=5).eval()
    model.load_state_dict(torch.load(places.roots[0] / "tiny.pth", weights_only=True))
    images = torch.randn(2, 3, 64, 64)
    assert isinstance(backbone, Classifier)
    assert backbone.classes == ("a", "b", "c", "d", "e")
    assert torch.equal(backbone.classify(images), model(images))
    assert torch.equal(backbone.embed(images), model.forward_head(model.forward_features(images), pre_logits=True))
    assert backbone.preprocess == Preprocess((64, 64), 64, "center", "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_same_weights_in_another_architecture_are_another_backbone(places: Places) -> None:
    plain = load(write(places), places)
    padded = load(write(places, kwargs={"num_classes": 5, "pad_type": "same"}), places)
    assert plain.card.weights_sha256 != padded.card.weights_sha256


def test_all_mistakes_of_a_card_at_once(places: Places) -> None:
    name = write(places, famly="x", family="supervized", licence=None, preprocess={"size": -1, "mean": [0, 0]})
    with pytest.raises(ValueError, match=r"card\.yaml: \d+ mistakes") as caught:
        load(name, places)
    for part in ("famly: no such key", "family: ", "licence: must be given", "preprocess.size", "preprocess.std"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"architecture": "test_efficientnett"}, "did you mean 'test_efficientnet'"),
        ({"kwargs": {"num_clases": 5}}, "num_clases"),
        ({"kwargs": {"num_classes": 6}}, r"2 of another shape.*check `architecture` and `kwargs`"),
        ({"kwargs": {}}, "another shape"),
        ({"architecture": "test_resnet"}, "missing .*unexpected"),
        ({"sha256": "0" * 64}, "it is another file"),
        ({"classes": ["a"]}, "`classes` names 1, but the head has 5"),
        ({"key": "model"}, "no entry 'model'"),
        ({"unexpected": ["decoder.*"]}, "matches nothing"),
        ({"missing": ["decoder.*"]}, "matches nothing"),
        ({"missing": ["classifier.*"]}, "2 unexpected"),
    ],
)
def test_mistakes_say_what_to_mend(changes: dict[str, object], answer: str, places: Places) -> None:
    name = write(places, **changes)
    with pytest.raises(ValueError, match=answer):
        load(name, places)


def test_missing_files_and_duplicate_keys(places: Places) -> None:
    name = write(places, weights="nowhere.pth")
    with pytest.raises(FileNotFoundError, match=r"no weights file 'nowhere\.pth'"):
        load(name, places)
    with pytest.raises(FileNotFoundError, match="no card"):
        load("checkpoint:nowhere.yaml", places)
    (places.roots[0] / "card.yaml").write_text("name: a\nname: b\n")
    with pytest.raises(ValueError, match="given twice"):
        load("checkpoint:card.yaml", places)


def test_class_lists_from_files(places: Places) -> None:
    (places.roots[0] / "names.txt").write_text("a\nb c\nd\ne\nf\n")
    (places.roots[0] / "ids.json").write_text(json.dumps([{"wnid": f"n{i}"} for i in range(5)]))
    for file, first in {"names.txt": "a", "ids.json": "n0"}.items():
        backbone = load(write(places, classes=file), places)
        assert isinstance(backbone, Classifier)
        assert backbone.classes[0] == first


def test_weights_for_a_file_of_your_own(places: Places) -> None:
    (places.roots[0] / "mine.py").write_text(
        "from torch import nn\ndef build(width):\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, width))\n"
    )
    torch.save({"1.weight": torch.ones(4, 12), "1.bias": torch.zeros(4)}, places.roots[0] / "own.pth")
    own = {"library": "file", "architecture": "mine.py:build", "kwargs": {"width": 4}, "classes": None}
    backbone = load(write(places, weights="own.pth", **own), places)
    assert backbone.embed(torch.ones(1, 3, 2, 2)).tolist() == [[12.0] * 4]


REAL = {
    "mobilenetv2_100_in1k": (1280, 82),
    "squeezenet1_1_in1k": (512, 58),
    "mobilenetv2_100_inat_bird": (1280, None),
    "mobilenetv2_100_voc_seg_backbone": (320, None),
}
CARDS = Path(__file__).parent.parent / "cards"


def marks_of(name: str) -> list[pytest.MarkDecorator]:
    """One of each library is enough for every day, and the one whose file lacks parts."""
    return [] if name.startswith("squeezenet") or name.endswith("backbone") else [pytest.mark.slow]


def real_data() -> Path:
    if not (folder := os.environ.get("BOB_DATA")):
        pytest.skip("needs real data: set BOB_DATA to its folder")
    return Path(folder)


def test_random_twin_of_a_real_card_needs_no_data() -> None:
    twin = freeze(load(f"random:checkpoint:{CARDS}/mobilenetv2_100_voc_seg_backbone.yaml"))
    assert twin.embed(torch.zeros(1, 3, 224, 224)).shape == (1, 320)


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks_of(name)) for name in REAL])
def test_real_cards_give_the_figures_of_their_readme(name: str) -> None:
    root = real_data()
    dim, right = REAL[name]
    backbone = freeze(load(f"checkpoint:{CARDS / name}.yaml", Places((root,))))
    _assert_as_upstream(f"checkpoint:{CARDS / name}.yaml", backbone, Places((root,)))
    assert backbone.embed(torch.zeros(1, 3, 224, 224)).shape == (1, dim)
    if right is None:
        return
    images, truth = central_crops(root / "imagenet_mini.zip", backbone.preprocess)
    assert isinstance(backbone, Classifier)
    predicted = torch.cat([backbone.classify(batch).argmax(1) for batch in images.split(25)])
    assert sum(backbone.classes[row] == each for row, each in zip(predicted.tolist(), truth, strict=True)) == right


def _assert_as_upstream(name: str, backbone: Backbone, places: Places) -> None:
    reference = reference_of(name, backbone, places)
    assert (reference is None) == ("voc_seg" in name), "parts are missing from this file alone"
    found = [each for each in checks(backbone, lambda: load(name, places), reference) if "upstream" in each.name]
    assert [each.passed for each in found if "maps" not in each.name] == [None if reference is None else True] * 2


def central_crops(archive: Path, preprocess: Preprocess) -> tuple[Tensor, list[str]]:
    """The images' shorter side is 256 already. An odd margin is cut rounding down, as whoever measured them did."""
    tensors, truth = [], []
    with zipfile.ZipFile(archive) as file:
        for name in sorted(name for name in file.namelist() if name.endswith(".jpg")):
            image = Image.open(io.BytesIO(file.read(name))).convert("RGB")
            left, top = (image.width - 224) // 2, (image.height - 224) // 2
            pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), dtype=np.float32) / 255
            tensors.append(torch.from_numpy((pixels - preprocess.mean) / preprocess.std).permute(2, 0, 1).float())
            truth.append(Path(name).name.split("_")[0])
    return torch.stack(tensors), truth
