"""Prompt templates: sets by name, from data beside this file or as published with CLIP, and filling them."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from backbones.plugins import unknown
from backbones.strict_yaml import read_yaml

OF_OPEN_CLIP: Mapping[str, str] = {"clip80": "OPENAI_IMAGENET_TEMPLATES", "clip7": "SIMPLE_IMAGENET_TEMPLATES"}
"""CLIP's ensembles for ImageNet, by the names open_clip has for them: all 80, and the 7 that did nearly as well."""
PLACE = "{}"


def templates_of(templates: str | Sequence[str]) -> tuple[str, ...]:
    """The templates of a set by its name, or those given.

    Raises ``ImportError`` where they come with open_clip, which is not installed.
    """
    if not isinstance(templates, str):
        return tuple(templates)
    if templates not in OF_OPEN_CLIP:
        return _sets()[templates]
    try:
        from open_clip import zero_shot_metadata
    except ImportError:
        raise ImportError(
            f"the templates {templates!r} come with open_clip: install it with `uv sync --extra open_clip`"
        ) from None
    return tuple(template(PLACE) for template in getattr(zero_shot_metadata, OF_OPEN_CLIP[templates]))


def check_templates(templates: str | Sequence[str]) -> None:
    """Raise ``ValueError`` for a set nobody knows, an empty list, or a template without a place for the name."""
    if isinstance(templates, str):
        if templates not in (names := [*_sets(), *OF_OPEN_CLIP]):
            raise unknown("set of templates", templates, names)
        return
    if not templates:
        raise ValueError("templates is an empty list; give one at least, such as 'a photo of a {}.'")
    for template in templates:
        if PLACE not in template:
            raise ValueError(f"template {template!r} has no {PLACE} where the class's name goes")


def filled(templates: Sequence[str], names: Sequence[str]) -> list[str]:
    """Every template with every name, name by name. Braces in a name are only braces.

    >>> filled(["a {}.", "the {}."], ["cat", "{}"])
    ['a cat.', 'the cat.', 'a {}.', 'the {}.']
    """
    return [template.replace(PLACE, name) for name in names for template in templates]


@cache
def _sets() -> Mapping[str, tuple[str, ...]]:
    sets: dict[str, list[str]] = read_yaml(Path(__file__).with_name("prompt_templates.yaml"))
    return {name: tuple(templates) for name, templates in sets.items()}
