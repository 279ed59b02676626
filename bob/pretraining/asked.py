"""What a person asks ``bob pretrain`` for, as settings: a preset, or defaults, and single values over them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from pydantic import ValidationError

from backbones.plugins import unknown
from backbones.pretraining.catalogue import presets, settings_class
from backbones.pretraining.method import MethodSettings
from backbones.pretraining.preset import Preset
from backbones.pretraining.runs import is_run
from backbones.pretraining.views.settings import ViewGroup
from backbones.strict_yaml import load_yaml
from backbones.training.recipe import Recipe
from bob.options import PretrainOptions
from bob.plan import PlanError, explain

RECIPE = Recipe(epochs=100, global_batch=256, learning_rate=5e-4, warmup_epochs=10.0, weight_decay=0.05)
"""Without a preset: AdamW for a hundred epochs, safe for convolutions and transformers alike, best for neither."""
ARCHITECTURES = {"any": "timm:resnet18", "map": "timm:resnet18", "tokens": "timm:vit_small_patch16_224"}
"""Without a preset, by what the method needs; at 224 pixels."""
SIZE = 224


@dataclass(frozen=True)
class Asked:
    """Settings that are in order, each by itself; ``architecture`` is empty where a backbone is begun from.

    ``size`` None is that of the backbone begun from.
    """

    method: str
    preset: str
    settings: MethodSettings
    recipe: Recipe
    architecture: str
    kwargs: Mapping[str, Any]
    size: int | None


def asked_for(method: str, options: PretrainOptions) -> Asked:
    """Raises ``ValueError`` for an unknown method, :class:`PlanError` with every other mistake."""
    kind, mistakes = settings_class(method), list[str]()
    preset = _preset(method, options.preset, mistakes)
    values = {
        "method": _plain(preset.settings if preset else kind()),
        "recipe": _plain(preset.recipe if preset else RECIPE),
    }
    for text in options.settings:
        _put(text, values, mistakes)
    settings, recipe = _made(kind, "method", values, mistakes), _made(Recipe, "recipe", values, mistakes)
    kwargs = _kwargs(options, preset, mistakes)
    mistakes += _contradictions(options)
    if mistakes or settings is None or recipe is None:
        raise PlanError(mistakes)
    default = preset.architecture if preset else ARCHITECTURES[kind.needs]
    size = None if options.init else preset.size if preset else SIZE
    architecture = "" if options.init else options.arch or default
    return Asked(method, options.preset, settings, recipe, architecture, kwargs, options.size or size)


def _preset(method: str, name: str, mistakes: list[str]) -> Preset | None:
    known = presets(method)
    if name and name not in known:
        mistakes.append(f"--preset: {unknown(f'preset of {method}', name, known)}")
    return known.get(name)


def _plain(settings: Any) -> dict[str, Any]:
    """As YAML would hold it."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return plain


def _put(text: str, values: dict[str, dict[str, Any]], mistakes: list[str]) -> None:
    """Take ``method.temperature=0.2`` over into ``values``; a list's members go by number (``method.views.0.blur``)."""
    path, equals, written = text.partition("=")
    part, *inner = path.strip().split(".")
    place: Any = values.get(part)
    if not equals or place is None or not inner:
        mistakes.append(f"--set {text!r}: write method.NAME=VALUE or recipe.NAME=VALUE")
        return
    try:
        for name in inner[:-1]:
            part, place = f"{part}.{name}", place[_key(place, name, part)]
        key = _key(place, inner[-1], part)
        place[key] = load_yaml(written, "the value")
    except ValueError as error:
        mistakes.append(f"--set {text!r}: {error}")


def _key(place: Any, name: str, path: str) -> Any:
    """What ``name`` is in ``place``: a mapping's key, a list's number. Raises ``ValueError`` with the choices."""
    if isinstance(place, dict) and name in place:
        return name
    if isinstance(place, list) and name.isdigit() and int(name) < len(place):
        return int(name)
    if isinstance(place, dict | list) and place:
        raise unknown(f"setting of {path},", name, place if isinstance(place, dict) else map(str, range(len(place))))
    raise ValueError(f"{path} is {place!r}, which has no {name!r} in it")


def _made(kind: Any, part: str, values: Mapping[str, Mapping[str, Any]], mistakes: list[str]) -> Any:
    try:
        return kind(**values[part])
    except ValidationError as error:
        choices = [field.name for each in (kind, ViewGroup) for field in fields(each)]
        mistakes += [f"{part}.{line}" for line in explain(error, choices)]
        return None


def _kwargs(options: PretrainOptions, preset: Preset | None, mistakes: list[str]) -> Mapping[str, Any]:
    """Those of the preset belong to its architecture, so they are not those of another."""
    base = dict(preset.kwargs) if preset and not (options.arch or options.init) else {}
    try:
        given = load_yaml(options.kwargs, "--kwargs") or {}
    except ValueError as error:
        mistakes.append(str(error))
        return base
    if not isinstance(given, dict) or not all(isinstance(key, str) for key in given):
        mistakes.append(f"--kwargs: must be a mapping like '{{patch_size: 4}}', not {options.kwargs!r}")
        return base
    plain: dict[str, Any] = json.loads(json.dumps({**base, **given}, default=str))
    return plain


def _contradictions(options: PretrainOptions) -> Sequence[str]:
    lines = []
    if not options.data:
        lines.append("--data: must be given: the images to train on (a dataset's name, or unlabelled:FOLDER)")
    if options.init and (options.arch or options.kwargs):
        lines.append("--init brings its architecture: leave --arch and --kwargs out")
    if options.name and not is_run(options.name):
        lines.append(
            f"--name: {options.name!r} must be of letters, digits, - and _, and begin with one of the first two"
        )
    return lines
