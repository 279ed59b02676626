"""The checkpoint's own classifier head, asked as it came, over all its classes or the dataset's alone."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from backbones.base import Backbone, Classifier
from tasks.base import Data, Note, Outputs, Score, Task, Tools
from tasks.classification.competing import compete
from tasks.classification.report import report
from tasks.datasets.catalogue import named_sets
from tasks.datasets.partition import evaluated_on, evaluation_part
from tasks.datasets.targets import target_refusal
from tasks.features import collapse_notes, features_of


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OwnHead(Task):
    """top1, top5, mean_per_class, nll and ece of the checkpoint's head on a dataset that names its classes alike.

    ``mask=True`` lets only the dataset's classes compete; by default all of the head's do, except on the sets that are
    defined with a mask (ImageNet-A, -R, ObjectNet; ``masked`` in the catalogue). A class that is any of several of the
    head's (ObjectNet's) has the score of the best. Images of a class the head does not have are left out and counted.
    """

    name: ClassVar[str] = "classification.head"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "top1"
    roles: ClassVar[Mapping[str, Literal["one", "many"]]] = {"dataset": "one"}

    mask: bool = False

    def uses_seed(self, data: Data) -> bool:
        """Never: nothing is learnt."""
        return False

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """A backbone without a head, or one whose classes are all foreign to the dataset."""
        dataset = data["dataset"][0]
        if not isinstance(backbone, Classifier):
            return f"backbone {backbone.card.name!r} has no classifier head of its own"
        if why := target_refusal(dataset):
            return why
        try:
            part = evaluation_part(dataset)
            competition = compete(dataset.classes, backbone.classes, mask=True)
        except ValueError as error:
            return str(error)
        if len(part) == 0:
            return f"dataset {dataset.name!r} has no images to classify"
        if not competition.groups:
            return (
                f"no class of dataset {dataset.name!r} ({_few(dataset.classes)}) is one of the head's "
                f"{len(backbone.classes)} classes ({_few(backbone.classes)}); names must match exactly"
            )
        return None

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Read the head's logits and compare."""
        dataset = data["dataset"][0]
        why = self.refusal(backbone, data)
        if why or not isinstance(backbone, Classifier):
            raise ValueError(why)
        part = evaluation_part(dataset)
        yield Note("test_part", evaluated_on(part))
        logits = features_of(backbone, part, tools.extract, "logits")
        if logits.shape[1] != len(backbone.classes):
            raise ValueError(f"the head gave {logits.shape[1]} logits but names {len(backbone.classes)} classes")
        yield from collapse_notes(logits, "logit")
        entry = named_sets().get(dataset.name)
        competition = compete(dataset.classes, backbone.classes, self.mask or (entry is not None and entry.masked))
        wanted = competition.of_class[part.labels]
        known = wanted >= 0
        yield Note("classes_competing", len(competition.groups))
        if not known.all():
            lost = [name for name, place in zip(dataset.classes, competition.of_class, strict=True) if place < 0]
            yield Note("classes_without_output", f"{(~known).sum()} images of {_few(lost)} are left out", True)
        names = [name for name, keep in zip(part.names, known, strict=True) if keep]
        yield from report(competition.scores(logits)[known], wanted[known], names)


def _few(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


TASKS = {"classification.head": OwnHead}
