"""Lists for the terminal: backbones with what decides between them, groups, tasks, datasets, methods of pretraining.

At most 100 columns.
"""

import fnmatch
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from backbones.catalogue import ADAPTERS, Entry, entries, group, groups
from backbones.counts import read_count
from backbones.plugins import unknown
from backbones.pretraining.catalogue import described
from tasks.catalogue import DATASETS, TASKS
from tasks.datasets.catalogue import NamedSet, named_sets

COLUMNS = 100


@dataclass(frozen=True)
class Filters:
    """Which backbones to list."""

    family: Annotated[str, typer.Option(help="Only backbones of that family (diffusion, self-supervised, ...).")] = ""
    max_params: Annotated[str, typer.Option(help="Only backbones of at most that many parameters (100M).")] = ""
    group: Annotated[str, typer.Option(help="Only backbones of that group (bob list groups).")] = ""


def lines_of(kind: str, pattern: str, filters: Filters) -> list[str]:
    """The list of a kind (``backbones``, ``tasks``, ``methods``...) whose name matches the pattern, or holds it.

    Raises ``ValueError`` for a filter that means nothing, leaves nothing, or is given with another list.
    """
    if kind == "backbones":
        return _backbones(pattern, filters)
    if filters != Filters():
        raise ValueError(f"--family, --max-params and --group choose among backbones; `bob list {kind}` takes none")
    if kind == "methods":
        return _methods(pattern)
    plugins = {"tasks": TASKS, "datasets": DATASETS}
    sentences = (
        {name: _members(found) for name, found in groups().items()}
        if kind == "groups"
        else {plugin.name: plugin.summary for plugin in plugins[kind].found.values()}
    )
    named = [each for each in named_sets().values() if kind == "datasets" and _matches(each.name, pattern)]
    return _named(named) + _sentences({name: said for name, said in sentences.items() if _matches(name, pattern)})


def _methods(pattern: str) -> list[str]:
    """A line a method of pretraining: its family, what it needs of a backbone, and what it is."""
    chosen = [each for each in described() if _matches(each.name, pattern)]
    if not chosen:
        return []
    rows = [("METHOD", "FAMILY", "NEEDS", ""), *chosen]
    width = [max(len(row[column]) for row in rows) for column in range(3)]
    heads = [f"{name:<{width[0]}}  {family:<{width[1]}}  {needs:<{width[2]}}  " for name, family, needs, _ in rows]
    return [line for head, row in zip(heads, rows, strict=True) for line in _wrapped(head + row[3], len(head))]


def _count(stated: int | None) -> str:
    return f"{stated:,}" if stated else "-"


def _named(chosen: Sequence[NamedSet]) -> list[str]:
    """One line a dataset with a name of its own, whether it is on disk or not."""
    if not chosen:
        return []
    rows = [("DATASET", "IMAGES", "CLASSES", "LICENCE")]
    rows += [(each.name, _count(sum(each.images.values())), _count(each.classes), each.licence) for each in chosen]
    width = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        f"{name:<{width[0]}}  {images:>{width[1]}}  {classes:>{width[2]}}  {licence}"
        for name, images, classes, licence in rows
    ]


def _backbones(pattern: str, filters: Filters) -> list[str]:
    among = [each for each in _among(filters) if _matches(each.name, pattern) or _matches(each.alias, pattern)]
    most = read_count(filters.max_params) if filters.max_params else float("inf")
    lines = _table([each for each in among if each.parameters <= most])
    if among and not lines:
        least = min(among, key=lambda each: each.parameters)
        raise ValueError(
            f"none has at most {filters.max_params} parameters: the smallest is {least.name}, {_millions(least)}"
        )
    if filters == Filters():
        known = {entry.name for entry in entries()}
        sources = {f"{each.name}:...": each.summary for each in ADAPTERS.found.values() if each.name not in known}
        lines += _sentences({name: said for name, said in sources.items() if _matches(name, pattern)})
    return lines


def _among(filters: Filters) -> list[Entry]:
    families = dict.fromkeys(entry.family for entry in entries())
    if filters.family and filters.family not in families:
        raise unknown("family", filters.family, families)
    members = group(filters.group) if filters.group else entries()
    return [each for each in members if filters.family in ("", each.family)]


def _table(chosen: Sequence[Entry]) -> list[str]:
    """One line a backbone, and one below it where it cannot be had, or where its name is that of a moving branch."""
    if not chosen:
        return []
    rows = [("BACKBONE", "PARAMS", "FAMILY", "GROUP")]
    rows += [(each.name, _millions(each), each.family, each.groups[0]) for each in chosen]
    width = [max(len(row[column]) for row in rows) for column in range(3)]
    remarks = [[], *map(_remarks, chosen)]
    lines = []
    for (name, parameters, family, first), below in zip(rows, remarks, strict=True):
        lines.append(f"{name:<{width[0]}}  {parameters:>{width[1]}}  {family:<{width[2]}}  {first}")
        lines += [f"    {remark}" for remark in below]
    return lines


def _remarks(entry: Entry) -> list[str]:
    why = [f"cannot be had: {entry.status}"] if entry.status else []
    branch = entry.revision.partition(" ")[0]
    return why if entry.pinned else [*why, f"unpinned: {branch} can move; NAME@COMMIT pins it, records hold the commit"]


def _millions(entry: Entry) -> str:
    millions = entry.parameters / 1e6
    return f"{millions:.0f}M" if millions >= 100 else f"{millions:.1f}M"


def _members(found: Sequence[Entry]) -> str:
    lost = sum(bool(each.status) for each in found)
    return f"{len(found)} backbones" + (f", {lost} of them cannot be had" if lost else "")


def _sentences(said: dict[str, str]) -> list[str]:
    width = max(map(len, said), default=0)
    wrapped = (_wrapped(f"{name:<{width}}  {sentence}", width + 2) for name, sentence in said.items())
    return [line for lines in wrapped for line in lines]


def _wrapped(text: str, indent: int) -> Iterable[str]:
    # A name is never broken: it is there to be copied.
    return textwrap.wrap(text, COLUMNS, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def _matches(name: str, pattern: str) -> bool:
    wanted = pattern if set(pattern) & set("*?[") else f"*{pattern}*"
    return bool(name) and fnmatch.fnmatch(name.lower(), wanted.lower())
