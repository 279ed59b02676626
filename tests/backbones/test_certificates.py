"""Every entry of the catalogue against its library: the tiny ones always, twins of the others of up to 30M slowly."""

import re

import pytest

from backbones.adapters.random_weights import UNTRAINED
from backbones.catalogue import Entry, entries, expand, load
from backbones.certification import checks
from backbones.places import Places
from backbones.reference import UNTRAINED_REFERENCES, reference_of

MOST_PARAMETERS = 30e6
"""Of a twin that is certified here; larger ones are the same code with more of it."""
OTHERS = [entry for entry in entries() if "tiny" not in entry.groups]


def _twin(entry: Entry) -> str:
    return entry.name if entry.name.startswith("random:") else f"random:{entry.name}"


def _fails(name: str) -> list[str]:
    """Every check that does not hold, and how many compared something with the library."""
    backbone = load(name)
    reference = reference_of(name, backbone, Places())
    found = list(checks(backbone, lambda: load(name), reference))
    failed = [f"{check.name}: {check.seen}" for check in found if check.passed is False]
    source = name.removeprefix("random:").partition(":")[0]
    if source in UNTRAINED_REFERENCES.found:
        compared = {check.name for check in found if check.passed is not None}
        failed += [
            f"{each} was not checked" for each in ("preprocessing", "features") if f"{each} as upstream" not in compared
        ]
    return failed


@pytest.mark.parametrize("name", expand("group:tiny"))
def test_tiny_ones(name: str) -> None:
    assert _fails(name) == []


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
