"""Which outputs of a classifier stand for a dataset's classes, matched by name, and which of them compete."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from tasks.datasets.targets import ANY_OF


@dataclass(frozen=True)
class Competition:
    """``groups[j]`` are the outputs that together make one competitor, in the order of their first outputs.

    ``of_class[i]`` and ``of_output[o]`` say which competitor a class of the dataset and an output belong to, or -1.
    """

    groups: tuple[tuple[int, ...], ...]
    of_class: Int64[np.ndarray, " k"]
    of_output: Int64[np.ndarray, " m"]

    def scores(self, logits: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n g"]:
        """The competitors' scores: each has that of its best output, so that the first of all stays the first."""
        if all(len(group) == 1 for group in self.groups):
            return logits[:, [group[0] for group in self.groups]]
        return np.stack([logits[:, list(group)].max(1) for group in self.groups], 1)

    def names(self, outputs: Sequence[str]) -> tuple[str, ...]:
        """What the competitors are called: as their outputs."""
        return tuple(ANY_OF.join(outputs[output] for output in group) for group in self.groups)


def compete(classes: Sequence[str], outputs: Sequence[str], mask: bool) -> Competition:
    """Match a dataset's ``classes`` with the names of a classifier's ``outputs``, exactly.

    A class whose name is no output's may be any of several, joined by ``|``. With ``mask`` only outputs that stand
    for a class compete, otherwise all do. Raises ``ValueError`` where an output stands for two classes.

    >>> compete(["cat|lion", "fish"], ["lion", "ant", "cat"], mask=True).groups
    ((0, 2),)
    >>> compete(["cat|lion", "fish"], ["lion", "ant", "cat"], mask=False).groups
    ((0, 2), (1,))
    """
    place = {name: output for output, name in enumerate(outputs)}
    matched = [_outputs(name, place) for name in classes]
    owner = dict[int, str]()
    for name, group in zip(classes, matched, strict=True):
        for output in group:
            if owner.setdefault(output, name) != name:
                raise ValueError(f"{outputs[output]!r} stands for two classes, {owner[output]!r} and {name!r}")
    others = [] if mask else [(output,) for output in range(len(outputs)) if output not in owner]
    groups = tuple(sorted([*filter(None, matched), *others]))
    of_output = np.full(len(outputs), -1, dtype=np.int64)
    for position, group in enumerate(groups):
        of_output[list(group)] = position
    of_class = np.asarray([of_output[group[0]] if group else -1 for group in matched], dtype=np.int64)
    return Competition(groups, of_class, of_output)


def _outputs(name: str, place: dict[str, int]) -> tuple[int, ...]:
    names = [name] if name in place else dict.fromkeys(name.split(ANY_OF))
    return tuple(sorted(place[each] for each in names if each in place))
