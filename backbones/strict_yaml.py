"""YAML as people mean it: no tags, no duplicate keys, numbers are numbers, and ``no`` is a word.

PyYAML follows YAML 1.1, which reads ``1e-3`` as text and ``no`` as false; this loader follows the YAML 1.2 core schema.
"""

import re
from pathlib import Path
from typing import Any

import yaml

MAX_NODES = 100_000
"""Most values a document may stand for once its aliases are followed; a plan has hundreds."""


class StrictLoader(yaml.SafeLoader):
    """SafeLoader with the 1.2 core schema's booleans, numbers and null, and duplicate keys refused."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own attribute

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


for _tag, _pattern, _first in [
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
]:
    StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
StrictLoader.yaml_implicit_resolvers[""] = StrictLoader.yaml_implicit_resolvers.pop("\0")


def _integer(loader: StrictLoader, node: yaml.ScalarNode) -> int:
    """``010`` is ten; only ``0o10`` is eight."""
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


StrictLoader.add_constructor("tag:yaml.org,2002:int", _integer)


def load_yaml(text: str, origin: str) -> Any:
    """Parse one document. Raises ``ValueError`` with ``origin``, line and column, and what is wrong.

    >>> load_yaml("{rate: 1e-3, country: no}", "example")
    {'rate': 0.001, 'country': 'no'}
    """
    try:
        loader = StrictLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _expanded_size(node, {}) > MAX_NODES:
            raise ValueError(f"{origin}: aliases expand to more than {MAX_NODES:,} values")
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{origin}:{place}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{origin}: {error}") from None
    except RecursionError:
        raise ValueError(f"{origin}: nested too deeply") from None


def read_yaml(path: Path) -> Any:
    """Parse a UTF-8 file. Raises ``ValueError`` naming the file, or ``OSError``."""
    try:
        return load_yaml(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a UTF-8 text file") from None


def _expanded_size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many nodes ``node`` stands for, aliases followed; each node is visited once, so a bomb costs nothing."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = MAX_NODES + 1  # an alias to its own ancestor would never end: it counts as too large
    children = node.value if isinstance(node.value, list) else []
    parts = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
    known[id(node)] = 1 + sum(_expanded_size(part, known) for part in parts)
    return known[id(node)]
