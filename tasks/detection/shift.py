"""Detection out of distribution: one detector, trained once at home, tested there and on other sets."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from backbones.base import Backbone
from tasks.base import Data, Note, Outputs, Score, Tools
from tasks.datasets.base import Dataset
from tasks.datasets.corruption_splits import corruption_and_level
from tasks.datasets.corruptions.catalogue import LEVELS, STANDARD
from tasks.datasets.partition import Part, Partition, evaluated_on, evaluation_part, partition, whole_part
from tasks.datasets.sources import some
from tasks.datasets.targets import target_refusal
from tasks.detection.detecting import Detecting
from tasks.detection.limits import Limited, difference, mean_of_others, mean_of_same
from tasks.detection.shared_classes import places, shared_classes
from tasks.detection.shift_presets import PRESETS
from tasks.ood.shift import HOME

if TYPE_CHECKING:
    from tasks.detection.detector_training import Trained
    from tasks.detection.seen import Answering, Seen


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DetectionShift(Detecting):
    """The detector of ``detection``, learnt on ``dataset``, tested on its test part and on each ``test`` dataset.

    Classes are matched by name; only those a test set shares with what is learnt are looked for there, at home as
    abroad, wherever the two are compared: detections and objects of other classes are as if they were not there. For
    each test set (``split`` is its name), beside all that ``detection`` yields of it and of ``in-distribution``:

    - id_ap: ap of the shared classes at home, on images the detector never saw;
    - drop: id_ap minus ap, with the interval of a difference between two sets of images.

    A set whose splits are corruptions and levels (``corrupted:NAME``) is tested split by split (``NAME/fog/3``) and
    summed up as by Michaelis et al. (2019): ``ap`` of ``NAME/fog`` is the mean over its levels, ``mPC`` the mean of
    those over the corruptions of ImageNet-C that are there, whose place it takes in ``drop``; ``rPC`` is mPC over the
    ap of the same images without corruption, where these are tested too (at home, or as a test set).

    ``ood_ap`` is the mean over the test sets of ap (or mPC), each weighing the same. Nothing is chosen on any of them:
    val is carved from what is learnt. Preset ``bob2023`` is that of Sim10k to Cityscapes.
    """

    name: ClassVar[str] = "detection.shift"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "ood_ap"
    roles: ClassVar[Mapping[str, Literal["one", "many"]]] = {"dataset": "one", "test": "many"}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    detector: str = "cascade-rcnn"

    def uses_seed(self, data: Data) -> bool:
        """Always: heads, order and jitter are drawn."""
        return True

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """What cannot be learnt, or a test set on which nothing that is learnt can be found."""
        learnt = data["dataset"][0]
        if why := self.learning_refusal(backbone, learnt):
            return why
        names = [test.name for test in data["test"]]
        if not names or len(set(names)) < len(names) or HOME in names:
            return (
                f"the test datasets must be one or more and differ from one another; got {', '.join(names) or 'none'}"
            )
        at_home = partition(learnt, 0).test
        return next((why for test in data["test"] if (why := _foreign(learnt, at_home, test))), None)

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Train once, test at home, test abroad: corrupted sets last, since clean ones may be what they corrupt."""
        from tasks.detection.seen import look

        if why := self.refusal(backbone, data):
            raise ValueError(why)
        learnt = data["dataset"][0]
        parts = partition(learnt, seed)
        yield from (Note(f"{name}_part", origin) for name, origin in parts.notes.items())
        yield Note("classes", list(learnt.classes))
        trained, notes = self.trained(backbone, learnt, parts, tools, seed)
        yield from notes
        home = look(trained, parts.test, learnt, learnt)
        yield from home.evaluated(learnt.classes, HOME)
        clean, abroad = [home], []
        for test in sorted(data["test"], key=_is_corrupted):
            yield from _noted(learnt, parts, test)
            shared = shared_classes(learnt.classes, test.classes)
            if _is_corrupted(test):
                ap = yield from _corrupted(trained, learnt, test, shared, clean)
            else:
                clean.append(look(trained, evaluation_part(test), test, learnt))
                ap = yield from clean[-1].evaluated(shared, test.name)
            at_home = home.ap(shared)
            yield _score("id_ap", at_home, test.name)
            lost = difference(at_home, ap)
            yield Score("drop", lost.value, None, test.name, False, "difference", lost.interval)
            abroad.append(ap)
        yield _score("ood_ap", mean_of_others(abroad), "test")


def _corrupted(
    trained: "Trained", learnt: Dataset, test: Dataset, shared: Sequence[str], clean: "Sequence[Seen]"
) -> "Answering":
    """Every corruption at every level, then the means; it comes to mPC."""
    from tasks.detection.seen import contents_of, look

    levels: dict[str, list[Limited]] = {}
    for split, (function, _), part in _corruptions(test):
        seen = look(trained, part, test, learnt)
        ap = yield from seen.evaluated(shared, f"{test.name}/{split}")
        levels.setdefault(function, []).append(ap)
    means = {function: mean_of_same(several) for function, several in levels.items()}
    for function, mean in means.items():
        yield _score("ap", mean, f"{test.name}/{function}")
    counted = [means[function] for function in STANDARD if function in means]
    mean = mean_of_same(counted)
    yield _score("mPC", mean, test.name)
    if sum(len(levels.get(function, ())) for function in STANDARD) < len(STANDARD) * len(LEVELS):
        told = f"over {len(counted)} of {len(STANDARD)} corruptions, {len(test.splits)} splits in all; not COCO-C's"
        yield Note(f"mPC:{test.name}", told, True)
    contents = contents_of(part, test)
    same = next((found for each in clean if (found := each.only(contents))), None)
    whole = same.ap(shared).value if same is not None else 0.0
    if whole > 0:
        yield Score("rPC", mean.value / whole, None, test.name, unit="ratio")
    else:
        why = "the same images without corruption are not tested" if same is None else "nothing is found in them clean"
        yield Note(f"rPC:{test.name}", f"undefined: {why}", True)
    return mean


def _corruptions(test: Dataset) -> Iterator[tuple[str, tuple[str, int], Part]]:
    for split, content in test.splits.items():
        if told := corruption_and_level(split):
            yield split, told, whole_part(split, content)


def _is_corrupted(test: Dataset) -> bool:
    return bool(test.splits) and all(corruption_and_level(split) for split in test.splits)


def _tested(test: Dataset) -> list[Part]:
    """Everything a set is tested on. Raises ``ValueError`` where there is nothing."""
    return [part for _, _, part in _corruptions(test)] if _is_corrupted(test) else [evaluation_part(test)]


def _foreign(learnt: Dataset, at_home: Part, test: Dataset) -> str | None:
    """Why nothing that is learnt can be looked for in a test set."""
    if why := target_refusal(test, ("objects",)):
        return why
    shared = shared_classes(learnt.classes, test.classes)
    if not shared:
        return (
            f"dataset {test.name!r} shares no class with {learnt.name!r}: it has {some(test.classes, 12)}; the "
            f"detector learns {some(learnt.classes, 12)}; classes are matched by name"
        )
    if _is_corrupted(test) and not any(function in STANDARD for _, (function, _), _ in _corruptions(test)):
        return f"dataset {test.name!r} has none of the corruptions that count: {', '.join(STANDARD)}"
    try:
        tested = [(test, part) for part in _tested(test)]
    except ValueError as error:
        return str(error)
    for dataset, part in [(learnt, at_home), *tested]:
        if not _has_any(part, shared, dataset.classes):
            return f"dataset {dataset.name!r} has no object of {some(shared, 12)} in its {part.split} images"
    return None


def _has_any(part: Part, shared: Sequence[str], classes: Sequence[str]) -> bool:
    place = places(shared, classes)
    return any((place[each.labels[~each.crowd]] >= 0).any() for each in part.objects or ())


def _noted(learnt: Dataset, parts: Partition, test: Dataset) -> Iterator[Note]:
    """What of a set is tested, for which classes, and a warning where it was learnt from, by content."""
    first = _tested(test)[0]
    yield Note(f"test_part:{test.name}", "every corruption" if _is_corrupted(test) else evaluated_on(first))
    yield Note(f"classes:{test.name}", list(shared_classes(learnt.classes, test.classes)))
    trained_on = {learnt.splits[part.split].sha256[row] for part in (parts.train, parts.val)
                  for row in part.rows.tolist()}  # fmt: skip
    tested = {test.splits[first.split].sha256[row] for row in first.rows.tolist()}
    if both := len(trained_on & tested):
        yield Note(f"leak:{test.name}", f"{both} of {len(tested)} images are also learnt from", True)


def _score(metric: str, number: Limited, split: str) -> Score:
    return Score(metric, number.value, split=split, interval=number.interval)


TASKS = {"detection.shift": DetectionShift}
