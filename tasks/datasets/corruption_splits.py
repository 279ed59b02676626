"""Sets whose splits are a corruption and a level, ``fog/3``: which of them a reference asks for."""

from collections.abc import Mapping
from dataclasses import dataclass

from backbones.plugins import unknown
from tasks.datasets.corruptions.catalogue import CORRUPTIONS, LEVELS

SETTINGS = ("corruptions", "levels")


@dataclass(frozen=True)
class Choice:
    """Some corruptions and some levels, in the order of the paper."""

    corruptions: tuple[str, ...] = tuple(CORRUPTIONS)
    levels: tuple[int, ...] = LEVELS

    def splits(self) -> list[tuple[str, int]]:
        """Every (corruption, level)."""
        return [(name, level) for name in self.corruptions for level in self.levels]


def choice_of(settings: Mapping[str, str]) -> Choice:
    """What ``corruptions=fog,snow&levels=1,3`` asks for; everything where a setting is not given.

    Raises ``ValueError`` naming the choices for anything unknown.

    >>> choice_of({"corruptions": "fog,snow", "levels": "3"}).splits()
    [('snow', 3), ('fog', 3)]
    """
    names = settings["corruptions"].split(",") if "corruptions" in settings else [*CORRUPTIONS]
    for name in names:
        if name not in CORRUPTIONS:
            raise unknown("corruption", name, CORRUPTIONS)
    levels = settings["levels"].split(",") if "levels" in settings else [str(level) for level in LEVELS]
    for given in levels:
        if given not in (known := [str(level) for level in LEVELS]):
            raise unknown("corruption level", given, known)
    return Choice(
        tuple(name for name in CORRUPTIONS if name in names), tuple(level for level in LEVELS if str(level) in levels)
    )


def corruption_and_level(split: str) -> tuple[str, int] | None:
    """What the name of a split says; None for a split of another kind.

    >>> corruption_and_level("fog/3"), corruption_and_level("test"), corruption_and_level("fog/9")
    (('fog', 3), None, None)
    """
    name, _, level = split.partition("/")
    return (name, int(level)) if name in CORRUPTIONS and level in map(str, LEVELS) else None
