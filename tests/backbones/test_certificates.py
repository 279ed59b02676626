"""Every entry of the catalogue against its library: the tiny ones always, twins of the others of up to 30M slowly."""

import re
from pathlib import Path

import pytest
import timm
import torch
from torchvision.models import squeezenet1_1

from backbones.adapters.random_weights import UNTRAINED
from backbones.catalogue import Entry, entries, expand, load
from backbones.certification import checks
from backbones.places import Places
from backbones.reference import reference_of

MOST_PARAMETERS = 30e6
"""Of a twin that is certified here; larger ones are the same code with more of it."""
OTHERS = [entry for entry in entries() if "tiny" not in entry.groups]


ANYWHERE = Places()
CARD = """
name: mine
weights: {library}.pth
key: weights
library: {library}
architecture: {architecture}
rename: [['^trunk\\.', '']]
preprocess: {{size: 64, resize: 72, interpolation: bilinear, mean: [0.5, 0.4, 0.3], std: [0.3, 0.4, 0.5]}}
family: supervised
pretraining: {{method: supervised, data: noise}}
licence: mit
revision: "1"
"""


def _twin(entry: Entry) -> str:
    return entry.name if entry.name.startswith("random:") else f"random:{entry.name}"


def _fails(name: str, places: Places = ANYWHERE) -> list[str]:
    """What does not hold, and what was not compared although there is a reference."""
    backbone = load(name, places)
    reference = reference_of(name, backbone, places)
    found = list(checks(backbone, lambda: load(name, places), reference))
    failed = [f"{check.name}: {check.seen}" for check in found if check.passed is False]
    if reference is not None:
        failed += [
            f"not compared: {check.name}"
            for check in found
            if check.passed is None and check.name in ("preprocessing as upstream", "features as upstream")
        ]
    return failed


@pytest.mark.parametrize("name", expand("group:tiny"))
def test_tiny_ones(name: str) -> None:
    assert _fails(name) == []


@pytest.fixture
def cards(tmp_path: Path) -> Places:
    """A card of each library, whose weights are saved under names of their own."""
    for library, model in (("timm", timm.create_model("test_efficientnet")), ("torchvision", squeezenet1_1())):
        state = {f"trunk.{name}": value for name, value in model.state_dict().items()}
        torch.save({"weights": state}, tmp_path / f"{library}.pth")
        architecture = {"timm": "test_efficientnet", "torchvision": "squeezenet1_1"}[library]
        (tmp_path / f"{library}.yaml").write_text(
            CARD.format(library=library, architecture=architecture), encoding="utf-8"
        )
    return Places((tmp_path,))


@pytest.mark.parametrize("library", ["timm", "torchvision"])
@pytest.mark.parametrize("prefix", ["", "random:"])
def test_cards(library: str, prefix: str, cards: Places) -> None:
    assert _fails(f"{prefix}checkpoint:{library}.yaml", cards) == []


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_another_file_is_not_the_cards(library: str, cards: Places) -> None:
    name = f"checkpoint:{library}.yaml"
    backbone = load(name, cards)
    file = cards.roots[0] / f"{library}.pth"
    state = torch.load(file, weights_only=True)["weights"]
    torch.save({"weights": {key: value * 1.01 for key, value in state.items()}}, file)
    reference = reference_of(name, backbone, cards)
    found = {check.name: check.passed for check in checks(backbone, lambda: load(name, cards), reference)}
    assert (found["preprocessing as upstream"], found["features as upstream"]) == (True, False)


@pytest.mark.slow
@pytest.mark.parametrize("entry", OTHERS, ids=lambda entry: entry.name)
def test_twins(entry: Entry) -> None:
    source = entry.name.removeprefix("random:").partition(":")[0]
    if source not in UNTRAINED.found:
        pytest.skip(f"{source} has no untrained form")
    if entry.parameters > MOST_PARAMETERS:
        pytest.skip(f"{entry.parameters_m}M parameters, more than {MOST_PARAMETERS / 1e6:.0f}M")
    if entry.status:
        pytest.skip(f"cannot be had: {entry.status}")
    try:
        failed = _fails(_twin(entry))
    except OSError as error:  # its configuration is on a hub
        pytest.skip(re.sub(r"\s+", " ", f"cannot be had here: {error}"))
    assert failed == []
