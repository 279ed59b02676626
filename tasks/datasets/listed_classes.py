"""The classes of a user's own set, by number, from the file beside its folders that names them."""

from collections.abc import Mapping, Sequence
from typing import Any

from backbones.strict_yaml import load_yaml
from tasks.datasets.sources import Source, printable, some


def find_listing(files: Sequence[str], top: str, asked: str, endings: tuple[str, ...], hint: str) -> str:
    """The file asked for, or the only one of these endings at the set's top. Raises ``ValueError`` with the choices.

    ``hint`` says how to ask for one, and what to write where there is none.
    """
    if asked:
        if found := [file for file in (asked, top + asked) if file in files]:
            return found[0]
        raise ValueError(f"no list of classes {asked!r}; {hint}")
    at_top = [file for file in files if file.startswith(top) and "/" not in file.removeprefix(top)]
    found = [file for file in at_top if file.lower().endswith(endings)]
    if len(found) > 1:
        raise ValueError(f"{len(found)} files may list the classes ({some(found)}); {hint}")
    if not found:
        raise ValueError(f"no list of classes; {hint}")
    return found[0]


def read_text(source: Source, file: str) -> str:
    """The text of a file. Raises ``ValueError`` where it is not UTF-8."""
    try:
        return source.read(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{printable(file)} is not UTF-8 text: {error}") from error


def read_yaml_of(source: Source, file: str) -> Any:
    """What a YAML file holds. Raises ``ValueError`` naming file and line."""
    return load_yaml(read_text(source, file), printable(file))


def numbered_names(content: Any, file: str) -> dict[int, str]:
    """The name of each number, from a list or a mapping. Raises ``ValueError`` naming the file for anything else.

    >>> numbered_names(["cat", "dog"], "data.yaml"), numbered_names({3: "cat"}, "data.yaml")
    ({0: 'cat', 1: 'dog'}, {3: 'cat'})
    """
    if isinstance(content, list):
        content = dict(enumerate(content))
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{file} has no classes: a mapping of numbers to names, or a list of names")
    for value, name in content.items():
        if not isinstance(value, int) or isinstance(value, bool) or not isinstance(name, str) or not name:
            raise ValueError(f"{file}: {value!r}: {name!r} is no number with a name, like '3: car'")
    return dict(content)
