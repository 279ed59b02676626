"""Datasets with a name of their own (``catalogue.yaml``), known without opening them or importing anything heavy."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CORRUPTED_BY = (
    *("gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    *("speckle_noise", "gaussian_blur", "spatter", "saturate"),
)
"""The corruptions of ImageNet-C, in the order of its paper; the last four are its extra ones."""


@dataclass(frozen=True)
class NamedSet:
    """An entry of the catalogue; the file's head says what each field means."""

    name: str
    title: str
    licence: str
    where: str
    split: str
    classes: int | None
    images: Mapping[str, int]
    layouts: tuple[str, ...]
    folders: tuple[str, ...] = ()
    download: str = ""
    large: bool = False
    manifests: tuple[str, ...] = ()
    masked: bool = False


@cache
def named_sets() -> dict[str, NamedSet]:
    """Every entry by name, in the catalogue's order. Raises ``ValueError`` for a field that is none or is missing."""
    from backbones.strict_yaml import read_yaml  # a third of the time of `bob --help`, which needs no name

    path = Path(__file__).with_name("catalogue.yaml")
    return {name: _entry(str(name), fields, path) for name, fields in read_yaml(path).items()}


def _entry(name: str, fields: Mapping[str, object], path: Path) -> NamedSet:
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    values = {"classes": None, "images": {}, **given}
    if corrupted := values.pop("corrupted", None):
        values["images"] = {
            f"{corruption}/{level}": corrupted for corruption in CORRUPTED_BY for level in (1, 2, 3, 4, 5)
        }
    try:
        return NamedSet(name, **values)  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(f"{path}: entry {name!r}: {error}") from None
