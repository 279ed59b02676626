"""The cell that a person means: by its key, the beginning of it, or words that only its name has."""

import re
from collections.abc import Sequence

from bob.sweep.roll import Listed, Roll

SHORTEST_KEY = 4
"""Digits of a key that a word must have to be taken for the beginning of one."""


def name_of(cell: Listed, roll: Roll) -> str:
    """A cell in words: backbone, setting, seed."""
    return f"{roll.backbones[cell.backbone]}  {roll.questions[cell.question].setting}  seed {cell.seed}"


def find_cell(roll: Roll, words: Sequence[str]) -> Listed:
    """The one cell that is meant. Raises ``ValueError`` where there is none, or with those there are where several."""
    found = _by_key(roll, words) or _by_words(roll, words)
    if len(found) == 1:
        return found[0]
    said = " ".join(words)
    if not found:
        raise ValueError(f"no cell of sweep {roll.name} is called {said!r:.120}: give a key, or words of its name")
    some = "".join(f"\n  {each.key[:12]}  {name_of(each, roll)}" for each in found[:8])
    more = f"\n  and {len(found) - 8:,} more" if len(found) > 8 else ""
    raise ValueError(f"{len(found):,} cells of sweep {roll.name} are called {said!r:.120}:{some}{more}")


def _by_key(roll: Roll, words: Sequence[str]) -> list[Listed]:
    if len(words) != 1 or not re.fullmatch(rf"[0-9a-f]{{{SHORTEST_KEY},}}", words[0]):
        return []
    return [cell for cell in roll.cells if cell.key.startswith(words[0])]


def _by_words(roll: Roll, words: Sequence[str]) -> list[Listed]:
    wanted = " ".join(words).lower().split()
    return [cell for cell in roll.cells if all(word in name_of(cell, roll).lower() for word in wanted)]
