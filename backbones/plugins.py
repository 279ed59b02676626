"""Finding plug-ins by name without importing them: one file each in a folder, or an entry point of another package.

A plug-in file assigns a dictionary of literal names at its top level (``ADAPTERS = {"timm": load}``). The names are
read from the syntax tree, so listing never pays for importing torch.
"""

import ast
import difflib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Plugin:
    """Where a name leads (``module:VARIABLE``) and the sentence that explains it."""

    name: str
    module: str
    summary: str


class Plugins:
    """Every plug-in of one kind: the files below ``package`` that assign ``variable``, and one entry-point group."""

    def __init__(self, kind: str, package: str, variable: str, group: str) -> None:
        self.kind, self.package, self.variable, self.group = kind, package, variable, group

    @cached_property
    def found(self) -> dict[str, Plugin]:
        """All plug-ins by name; a name claimed twice is an error, since one of the two would vanish silently."""
        found: dict[str, Plugin] = {}
        for plugin in [*self._files(), *self._entry_points()]:
            if plugin.name in found:
                raise ValueError(
                    f"{self.kind} {plugin.name!r} is provided twice: by {found[plugin.name].module} and {plugin.module}"
                )
            found[plugin.name] = plugin
        return dict(sorted(found.items()))

    def load(self, name: str) -> Any:
        """Import what the name stands for. Raises ``ValueError`` with suggestions for an unknown name."""
        if name not in self.found:
            raise unknown(self.kind, name, self.found)
        module, _, attribute = self.found[name].module.partition(":")
        value = getattr(importlib.import_module(module), attribute)
        return value[name] if isinstance(value, dict) else value

    def _files(self) -> Iterable[Plugin]:
        spec = find_spec(self.package)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"no package named {self.package!r}")
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*.py")):
            if self.variable not in (text := path.read_text(encoding="utf-8")):
                continue
            tree = ast.parse(text)
            module = ".".join([self.package, *path.relative_to(root).with_suffix("").parts])
            for name in _literal_keys(tree, self.variable):
                yield Plugin(name, f"{module}:{self.variable}", _first_sentence(tree))

    def _entry_points(self) -> Iterable[Plugin]:
        for point in entry_points(group=self.group):
            yield Plugin(point.name, point.value, f"from {point.dist.name if point.dist else point.module}")


def unknown(kind: str, name: str, choices: Iterable[str]) -> ValueError:
    """The error for a name nobody knows: it says the name, the nearest choices, or all of them when they are few.

    >>> str(unknown("task", "retreival", ["retrieval", "ood.shift"]))
    "unknown task 'retreival'; did you mean 'retrieval'?"
    """
    choices = list(choices)
    if near := difflib.get_close_matches(name, choices, n=3, cutoff=0.6):
        return ValueError(f"unknown {kind} {name!r}; did you mean {' or '.join(map(repr, near))}?")
    return ValueError(f"unknown {kind} {name!r}; there are: {', '.join(choices[:12])}{', ...' * (len(choices) > 12)}")


def _literal_keys(tree: ast.Module, variable: str) -> list[str]:
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and target.id == variable and isinstance(value, ast.Dict):
            return [key.value for key in value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
    return []


def _first_sentence(tree: ast.Module) -> str:
    return (ast.get_docstring(tree) or "").split("\n")[0]
