"""One name explained: a task's or a method's settings, a dataset's splits, a backbone's card and lineage."""

import dataclasses
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress

from backbones.adapters.checkpoint import card_path, read_card
from backbones.catalogue import ADAPTERS, entries, load, resolve
from backbones.plugins import Plugins
from backbones.pretraining.catalogue import METHODS, presets, settings_class
from backbones.training.recipe import Recipe
from tasks.base import Task
from tasks.catalogue import DATASETS, TASKS, open_dataset, task_class
from tasks.datasets.base import OpenOptions
from tasks.datasets.catalogue import NamedSet, named_sets
from tasks.datasets.targets import IN_WORDS


def describe(name: str, options: OpenOptions) -> str:
    """Text about a task, a method, a dataset (opened, unless it is in the catalogue) or a backbone (loaded).

    Of a reader or a source alone (``images``, ``timm``) it tells what is written after the colon. A name that several
    go by is told as each of them. Of a backbone in the catalogue that cannot be loaded here, the catalogue's line is
    told, and why. Errors are those of opening and loading.
    """
    told = [_task(name)] if name in TASKS.found else []
    if name in METHODS.found:
        told.append(_method(name))
    if name in named_sets():
        told.append(_named(named_sets()[name]))
    elif name in DATASETS.found:
        told += [_syntax(DATASETS, name), _dataset_alone(name, options)]
    elif name.partition(":")[0].partition("#")[0] in DATASETS.found:
        told.append(_dataset(name, options))
    if not told:
        told.append(_backbone(name, options))
    return "\n\n".join(filter(None, ("\n".join(lines) for lines in told)))


def _syntax(plugins: Plugins, name: str) -> Iterator[str]:
    """What the plug-in's file says of itself, references with examples among it."""
    provider = plugins.load(name)
    yield inspect.getdoc(sys.modules[provider.__module__]) or inspect.getdoc(provider) or plugins.found[name].summary


def _task(name: str) -> Iterator[str]:
    kind = task_class(name)
    yield f"{name}  (protocol version {kind.protocol_version}, headline {kind.headline})"
    yield ""
    yield "\n\n".join(_meanings(kind))
    yield ""
    yield "datasets: " + ", ".join(f"{role} ({many})" for role, many in kind.roles.items())
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        yield f"setting {field.name}: {getattr(kind(), field.name)!r}"


def _method(name: str) -> Iterator[str]:
    """Its equations and deviations, its settings with their defaults, and its presets with what they change."""
    kind = settings_class(name)
    yield f"{name}  ({kind.family}; needs {kind.needs})"
    yield ""
    yield inspect.getdoc(sys.modules[kind.__module__]) or ""
    yield ""
    yield inspect.cleandoc(kind.__doc__ or "")
    yield ""
    plain = kind()
    for field in dataclasses.fields(kind):
        yield f"setting method.{field.name}: {_short(getattr(plain, field.name))}"
    for label, preset in presets(name).items():
        yield ""
        yield f"preset {label}: {preset.source}"
        yield f"    {preset.architecture} at {preset.size} pixels{_arguments(preset.kwargs)}"
        yield from (f"    method.{line}" for line in _others(preset.settings, plain))
        yield from (f"    recipe.{line}" for line in _others(preset.recipe, Recipe()))


def _arguments(kwargs: Mapping[str, object]) -> str:
    return f" with {dict(kwargs)}" if kwargs else ""


def _others(settings: object, defaults: object) -> Iterator[str]:
    """The fields that are not as in ``defaults``."""
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        if (value := getattr(settings, field.name)) != getattr(defaults, field.name):
            yield f"{field.name}: {_short(value)}"


def _short(value: object) -> str:
    """Of settings inside settings (views) only what is not as in their defaults."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_short, value))}]"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return f"{{{', '.join(_others(value, type(value)()))}}}"
    return repr(value)


def _meanings(kind: type[Task]) -> Iterator[str]:
    """What the task says of itself, then each of the groups of settings it is put together from."""
    for each in kind.__mro__:
        if dataclasses.is_dataclass(each) and each.__doc__:
            yield inspect.cleandoc(each.__doc__)


def _named(entry: NamedSet) -> Iterator[str]:
    counts = ", ".join(f"{count:,} {split}" for split, count in entry.images.items())
    yield f"{entry.name}: {entry.title}"
    yield f"classes: {'not stated' if entry.classes is None else f'{entry.classes:,}'}"
    yield f"images: {counts or 'not stated'}"
    yield f"split: {entry.split}"
    yield f"licence: {entry.licence}"
    yield f"where to get it: {entry.where}"
    yield f"download: {entry.download or 'by hand'}{', only when asked to, since it is large' * entry.large}"
    yield f"layouts read: {', '.join(entry.layouts)}"
    if entry.folders:
        yield f"folders looked for below the data root: {', '.join(entry.folders)}"
    yield f"what is on disk: bob data check '{entry.name}'"


def _dataset_alone(name: str, options: OpenOptions) -> Iterator[str]:
    """The dataset of a reader that needs no reference; nothing of one that does."""
    with suppress(ValueError, OSError, ImportError):
        yield from _dataset(name, options)


def _dataset(name: str, options: OpenOptions) -> Iterator[str]:
    dataset = open_dataset(name, options)
    yield f"{dataset.name}  ({len(dataset.classes)} classes, {dataset.n_used} of {dataset.n_total} images used)"
    yield f"target: {IN_WORDS[dataset.target]} ({dataset.target})"
    yield f"source: {dataset.source}"
    yield f"licence: {dataset.licence}"
    yield f"manifest: {dataset.manifest_sha256}"
    for split, items in dataset.splits.items():
        yield f"split {split}: {len(items)} images"
    yield f"classes: {', '.join(dataset.classes[:20])}{', ...' * (len(dataset.classes) > 20)}"
    for line in dataset.warnings:
        yield f"warning: {line}"


def _backbone(name: str, options: OpenOptions) -> Iterator[str]:
    try:
        backbone = load(name, options.places)
    except (ValueError, OSError, ImportError) as error:
        line = next((entry for entry in entries() if entry.name == resolve(name)), None)
        if line is None and name in ADAPTERS.found:
            yield from _syntax(ADAPTERS, name)
            return
        if line is None:
            raise
        for key, value in dataclasses.asdict(line).items():
            said = ", ".join(value) if isinstance(value, tuple) else value
            yield f"{key.replace('_', ' ')}: {said or '-'}"
        yield f"from the catalogue alone: {error}"
        return
    for part in (backbone.card, backbone.preprocess):
        for field in dataclasses.fields(part):
            yield f"{field.name.replace('_', ' ')}: {getattr(part, field.name)}"
    yield from _lineage(name, options)


def _lineage(name: str, options: OpenOptions) -> Iterator[str]:
    """Of what ``bob pretrain`` published: its run, data, step, and what it began from."""
    source, _, reference = resolve(name).partition(":")
    lineage = read_card(card_path(reference, options.places)).lineage if source == "checkpoint" else None
    if lineage is not None:
        yield from (f"lineage {field.replace('_', ' ')}: {value or 'none'}" for field, value in lineage)
