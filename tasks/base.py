"""The task contract: a frozen dataclass of settings whose ``run`` yields scores, and knows nothing of where they go."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.images import Images
from backbones.inference import Layer
from backbones.text_forward import text_features
from backbones.training.execution import Execution
from tasks.datasets.base import Dataset
from tasks.race import Race, in_turn
from tasks.work import Work

Extract = Callable[[Backbone, Images, Layer], NDArray[Any]]
"""``extract(backbone, images, layer)``: a read-only (n, dim) matrix, from the cache when it is there."""

EmbedText = Callable[[Backbone, Sequence[str]], NDArray[np.float32]]
"""``embed_text(backbone, prompts)``: a read-only (n, dim) matrix of vectors as the text tower gives them."""


@dataclass(frozen=True)
class Tools:
    """What a task is handed to work with. Where and how fast they work is the runner's to say, and changes no number.

    ``extract`` gives frozen features; ``execution`` says how a backbone may be trained (devices, memory, checkpoints);
    ``embed_text`` gives a text tower's vectors, by default without a cache; ``race`` has the trials of a search run,
    by default here.
    """

    extract: Extract
    execution: Execution = Execution()
    embed_text: EmbedText = text_features
    race: Race = in_turn


Data = Mapping[str, Sequence[Dataset]]
"""The datasets of a cell by role (``dataset``, ``train``, ``test``); a role of one holds a sequence of one."""


@dataclass(frozen=True)
class Score:
    """One number. Where the metric is a mean over items, ``per_sample`` holds them and their mean is ``value``.

    ``split`` names the items (``test``, or a test set's own name); ``unit`` is ``fraction`` in [0, 1] unless said.
    ``interval`` is the 95 % interval of a metric that is no mean over items, such as an AUC; others get theirs later.
    """

    metric: str
    value: float
    per_sample: NDArray[Any] | None = None
    split: str = "test"
    higher_is_better: bool = True
    unit: str = "fraction"
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Outputs:
    """What happened to each item of a split: columns of equal length. ``item`` (its name) is always among them."""

    columns: Mapping[str, NDArray[Any]]
    split: str = "test"


@dataclass(frozen=True)
class Note:
    """Something the record must say that is no score: the strength chosen on val, how val was carved, a warning."""

    name: str
    value: Any
    warning: bool = False


def differences(task: Any, other: Any) -> dict[str, Any]:
    """The settings of ``task`` that are others in ``other``, a task of the same class."""
    settings, others = dataclasses.asdict(task), dataclasses.asdict(other)
    return {name: value for name, value in settings.items() if value != others[name]}


class Task(ABC):
    """A question. Subclasses are frozen pydantic dataclasses; every field changes the number, so it enters the key.

    ``headline`` is the metric boards show first. Changing a default or a definition bumps ``protocol_version``.
    ``roles`` names the datasets of a plan and how many it gives: one, many (one or more) or any (none too, and then the
    role is no key of the data). ``files`` names the settings that a plan may give as the path of a YAML file: what it
    says is the setting then, so that it is part of the key as if written out. ``texts``: it asks those that read text
    (``TextEncoder``) by texts.
    """

    name: ClassVar[str]
    protocol_version: ClassVar[int]
    headline: ClassVar[str]
    roles: ClassVar[Mapping[str, Literal["one", "many", "any"]]] = {"dataset": "one"}
    files: ClassVar[tuple[str, ...]] = ()
    texts: ClassVar[bool] = False

    def non_defaults(self) -> dict[str, Any]:
        """The settings that differ from the task's defaults: they belong to the name of a column."""
        return differences(self, type(self)())

    @abstractmethod
    def uses_seed(self, data: Data) -> bool:
        """Whether the seed changes the number on this data. Where it does not, a plan runs one seed, not several."""

    @abstractmethod
    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """Why this question cannot be put to this backbone on this data (a sentence), or None. Costs no compute."""

    def work(self, data: Data) -> Work:
        """How much it computes: every image of the data is looked at once, unless a task says otherwise."""
        return Work(
            forward=sum(len(split) for sets in data.values() for each in sets for split in each.splits.values())
        )

    @abstractmethod
    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Answer it. Never looks at test items to choose anything."""
