"""What a dataset's classes are called in a prompt: words from their own names, WordNet ids, or data beside this."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from backbones.plugins import unknown
from backbones.strict_yaml import read_yaml
from tasks.datasets.base import Dataset
from tasks.datasets.sources import some

WORDNET_ID = re.compile(r"n\d{8}")


def readable_names(dataset: Dataset, given: Mapping[str, str]) -> tuple[str, ...]:
    """A name in words for each class. ``given`` comes first, then ``class_names.yaml``, then WordNet, then a rule.

    ImageNet-1k's ids get the names published with CLIP, other WordNet ids their first lemma. Raises ``ValueError``
    for a given name of a class that is not there and for classes without a readable name, ``ImportError`` where
    open_clip, which has CLIP's names, is not installed.
    """
    for name in given:
        if name not in dataset.classes:
            raise unknown(f"class (in class_names) of dataset {dataset.name!r}:", name, dataset.classes)
    own = {**_of_known_sets(dataset), **given}
    names = tuple(own.get(name) or _in_words(name) for name in dataset.classes)
    if nameless := [own for own, name in zip(dataset.classes, names, strict=True) if not name]:
        raise ValueError(
            f"{len(nameless)} of {len(names)} classes of dataset {dataset.name!r} have no name that says what they are "
            f"({some(nameless)}); give them: class_names: {{{nameless[0]!r}: NAME, ...}}, or a YAML file of that"
        )
    return names


def spelt(name: str) -> str:
    """A class's own name as words; empty where it has none, only a number.

    Numbers in front of a name are left out, and what a slash divides is said from the narrow to the wide.

    >>> spelt("apple_pie"), spelt("012.Red_winged_Blackbird"), spelt("apartment_building/outdoor"), spelt("747-400")
    ('apple pie', 'Red winged Blackbird', 'outdoor apartment building', '747-400')
    >>> spelt("17"), spelt("__")
    ('', '')
    """
    parts = re.sub(r"^\d+\.(?=\D)", "", name).replace("_", " ").split("/")
    words = " ".join(word for part in reversed(parts) for word in part.split())
    return "" if words.isdecimal() else words


def all_names(name: str) -> tuple[str, ...]:
    """Every name known of a class, in words: its own, or all lemmas of its WordNet id; empty for a number.

    >>> all_names("n02123045"), all_names("African_elephant"), all_names("7")
    (('tabby', 'tabby cat'), ('African elephant',), ())
    """
    if not WORDNET_ID.fullmatch(name):
        return (words,) if (words := spelt(name)) else ()
    return tuple(filter(None, _lemmas().get(name, "").split(", ")))


def shared_names(classes: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """The classes that no prompt can tell apart, a phrase for each name that several have."""
    for name, count in Counter(names).items():
        if count > 1:
            alike = [own for own, readable in zip(classes, names, strict=True) if readable == name]
            yield f"{some(alike)} are all called {name!r}"


def _of_known_sets(dataset: Dataset) -> dict[str, str]:
    found: dict[str, str] = {}
    for known in _known_sets().values():
        names: dict[str, str] = known["names"]
        if names.keys() <= set(dataset.classes) and dataset.name in known.get("datasets", [dataset.name]):
            found |= names
    return found


@cache
def _known_sets() -> Mapping[str, Mapping[str, Any]]:
    sets: dict[str, dict[str, Any]] = read_yaml(Path(__file__).with_name("class_names.yaml"))
    return sets


def _in_words(name: str) -> str:
    if not WORDNET_ID.fullmatch(name):
        return spelt(name)
    return _imagenet_1k().get(name) or _wordnet().get(name, "")


@cache
def _imagenet_1k() -> Mapping[str, str]:
    from timm.data.imagenet_info import ImageNetInfo

    try:
        from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
    except ImportError:
        raise ImportError(
            "the names of ImageNet's classes come with open_clip: install it with `uv sync --extra open_clip`"
        ) from None
    ids = ImageNetInfo("imagenet-1k").label_names()  # type: ignore[no-untyped-call]
    return dict(zip(ids, IMAGENET_CLASSNAMES, strict=True))


@cache
def _wordnet() -> Mapping[str, str]:
    """The first lemma of every synset of ImageNet-22k."""
    return {name: lemmas.partition(",")[0] for name, lemmas in _lemmas().items()}


@cache
def _lemmas() -> Mapping[str, str]:
    """All lemmas of every synset of ImageNet-22k, between commas."""
    from timm.data.imagenet_info import ImageNetInfo

    known = ImageNetInfo("imagenet-22k")
    names: list[str] = known.label_names()  # type: ignore[no-untyped-call]
    return dict(zip(names, known.label_descriptions(), strict=True))
