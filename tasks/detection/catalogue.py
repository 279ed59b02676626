"""Detectors by name, found by reading their files; imported when they are built."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from backbones.plugins import Plugins

if TYPE_CHECKING:
    from tasks.detection.detector import Detector
    from tasks.detection.head_settings import HeadSettings
    from tasks.trunk import Trunk

DETECTORS = Plugins("detector", "tasks.detection.detectors", "DETECTORS", "bob.detectors")


def build_detector(name: str, trunk: "Trunk", classes: int, settings: "HeadSettings") -> "Detector":
    """The detector of that name over this trunk. Raises ``ValueError`` with suggestions for an unknown one."""
    build: Callable[[Trunk, int, HeadSettings], Detector] = DETECTORS.load(name)
    return build(trunk, classes, settings)


def finds_masks(name: str) -> bool:
    """Whether the detector of that name draws outlines, and so learns from them: it says so in its name."""
    return "mask" in name
