"""The catalogue's lines are true of the libraries they name."""

import pytest
import timm
import torch

from backbones.adapters import timm_models, torchvision_models
from backbones.base import FAMILIES
from backbones.catalogue import ADAPTERS, Entry, entries
from backbones.places import Places

TIMM = [entry for entry in entries() if entry.name.startswith("timm:")]
TORCHVISION = [entry for entry in entries() if entry.name.startswith("torchvision:")]


def test_names_and_aliases_are_unique_and_lines_complete() -> None:
    names = [name for entry in entries() for name in (entry.name, entry.alias) if name]
    assert len(set(names)) == len(names)
    assert len(entries()) >= 25
    assert {entry.family for entry in entries()} <= set(FAMILIES)
    assert all(entry.name.partition(":")[0] in ADAPTERS.found for entry in entries())
    assert all(value for entry in entries() for field, value in vars(entry).items() if field != "alias")


@pytest.mark.parametrize("entry", TIMM, ids=lambda entry: entry.name)
def test_timm_lines(entry: Entry) -> None:
    name = entry.name.partition(":")[2]
    assert timm_models.pinned(name) == name
    config = timm.models.get_pretrained_cfg(name)
    assert (entry.licence, entry.input) == (config.license, str(config.input_size[1]))
    with torch.device("meta"):
        model = timm_models.build(entry.architecture, {}, Places())
    assert f"{timm_models.trunk_parameters(model) / 1e6:.1f}" == entry.parameters_m


@pytest.mark.parametrize("entry", TORCHVISION, ids=lambda entry: entry.name)
def test_torchvision_lines(entry: Entry) -> None:
    architecture, _, weights = entry.name.partition(":")[2].partition(".")
    stated = torchvision_models.preprocess_of(torchvision_models.weights_of(f"{architecture}.{weights}")[1])
    assert entry.input == str(stated.size[0])
    with torch.device("meta"):
        model = torchvision_models.build(architecture, {}, Places())
    assert f"{torchvision_models.trunk_parameters(model) / 1e6:.1f}" == entry.parameters_m
