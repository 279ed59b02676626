"""What cells will cost: seconds and peak memory, from past records, from a short probe, or honestly unknown."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, Literal

from backbones.catalogue import entries
from bob.plan import Cell, Question
from bob.seen import Group, Past, Seen, size_of
from results import record
from results.record import plain
from slurm.resources import Resources
from tasks.work import Work

NEAREST = 5
"""Records an estimate is made from, where there are more."""
GROUPS = 3
"""Other questions it is made from, where there are more: those whose work is most alike."""
TRUST = {"same cell": 1.5, "same question": 2.0, "same data": 2.5, "other data": 3.0}
"""How far beyond what was seen a range reaches, by what was seen."""
PROBED_TRUST = 3.0
PROBED_SPARE_S = 60
"""As much for a probe, and some seconds: it sees nothing of what a task does beside the backbone's passes."""
CACHED_S = 1.0
"""Expected where a probe is all there is and the images have been looked at before."""
ALIKE = math.log(30)
"""Backbones of sizes further apart (pixel statistics and a network) tell little of one another ..."""
UNSIZED = 10.0
"""... and how much further a range reaches where there is nothing better, or where nobody knows how large one is."""
PROCESS_GB = 0.7
"""Of the memory of a process, what its libraries take: it does not grow with the backbone."""
MARGIN, START_UP_S, STEP_MIN = 1.5, 60, 5
"""Time asked for: the end of the range times the margin, and what a process needs to load; in steps."""
MEMORY_MARGIN, MEMORY_SPARE_GB = 1.25, 1.0


@dataclass(frozen=True)
class Estimate:
    """Of one cell. ``seconds`` is what is expected and (``low``, ``high``) the range; None: nobody knows.

    ``gpu_memory_gb`` is of a GPU, ``memory_gb`` of the process beside it. ``basis`` says where it comes from.
    """

    seconds: float | None
    low: float | None
    high: float | None
    memory_gb: float | None
    gpu_memory_gb: float | None
    basis: str


UNKNOWN = Estimate(None, None, None, None, None, "unknown")


@dataclass(frozen=True)
class Probe:
    """What a few images through a backbone told. ``seconds`` is for one image, reading and decoding included.

    ``memory_gb`` is the peak of the process, ``gpu_memory_gb`` that of a GPU, if there is one. ``weights_gb`` are the
    parameters alone, ``kept_gb`` what the forward pass of one image keeps for a backward pass.
    """

    seconds: float
    memory_gb: float
    gpu_memory_gb: float | None
    weights_gb: float
    kept_gb: float


def estimate(
    cells: Sequence[Cell], records: Iterable[record.Record], probe: Callable[[Cell], Probe | None] | None = None
) -> dict[str, Estimate]:
    """By key, what each cell costs.

    Records of the same backbone and question count first, then of the same question, then of the same task on the same
    data, then on other data: scaled by the backbones' floating-point operations, by the work that settings make, and by
    images. Then a probe, if there is one. Records must be of machines like the one that is asked about:
    :func:`measured_on` chooses them.
    """
    past, asked, probes = Past(records), dict[int, "_Asked"](), None if probe is None else _Probes(probe)
    known, found = dict[tuple[str, int], Estimate](), dict[str, Estimate]()
    for cell in cells:
        name = (cell.loaded_as, id(cell.question))
        if name not in known:
            if id(cell.question) not in asked:
                asked[id(cell.question)] = _Asked(cell.question, past)
            known[name] = _estimate(cell, asked[id(cell.question)], past, probes)
        found[cell.key] = known[name]
    return found


def measured_on(records: Iterable[record.Record], gpu: bool) -> list[record.Record]:
    """Those of machines with a GPU, or without: the seconds of one say nothing of the other."""
    return [each for each in records if (each.provenance.hardware.get("gpus", "none") != "none") == gpu]


def estimate_on(
    cells: Sequence[Cell],
    records: Sequence[record.Record],
    on_gpu: Callable[[str], bool],
    probe: Callable[[Cell], Probe | None] | None = None,
    probe_on_gpu: bool = False,
) -> dict[str, Estimate]:
    """:func:`estimate`: for tasks that get a GPU from records (and a probe) of machines with one, else without."""
    found: dict[str, Estimate] = {}
    for gpu in (False, True):
        these = [cell for cell in cells if on_gpu(cell.question.task.name) == gpu]
        found |= estimate(these, measured_on(records, gpu), probe if gpu == probe_on_gpu else None)
    return found


def filled(resources: Resources, estimates: Sequence[Estimate], memory: Literal["host", "gpu"] = "host") -> Resources:
    """What to ask for where these cells are done one after the other.

    Time is the sum of the ends of their ranges with a margin, never above what the profile says; without an estimate,
    the profile's. Memory is filled in where the profile leaves it open: the process's, or the GPU's.

    >>> hour = Estimate(1800, 1000, 3600, 2.0, None, "records of 3 cells")
    >>> asked = filled(Resources(), [hour])
    >>> asked.time_min, asked.mem_gb
    (95, 4.0)
    >>> filled(Resources(time_min=30), [hour]).time_min
    30
    """
    highs = [each.high for each in estimates]
    changes: dict[str, float] = {}
    if highs and None not in highs:
        minutes = (sum(high for high in highs if high is not None) * MARGIN + START_UP_S) / 60
        rounded = STEP_MIN * math.ceil(minutes / STEP_MIN)
        said = "time_min" in resources.model_fields_set
        changes["time_min"] = min(rounded, resources.time_min) if said else rounded
    needs = [each.gpu_memory_gb if memory == "gpu" else each.memory_gb for each in estimates]
    if resources.mem_gb is None and needs and None not in needs:
        most = max(need for need in needs if need is not None)
        spare = 0.0 if memory == "gpu" else MEMORY_SPARE_GB
        changes["mem_gb"] = float(math.ceil(most * MEMORY_MARGIN + spare))
    return resources.model_copy(update=changes)


class _Asked:
    """A question beside what was seen of its task, looked up once for all backbones."""

    def __init__(self, question: Question, past: Past) -> None:
        self.question, self._past = question, past

    @cached_property
    def setting(self) -> str:
        """Its column."""
        names = {role: list(each) for role, each in self.question.names.items()}
        asked = record.Cell(
            backbone="", task=self.question.task.name, datasets=names, settings=self.question.chosen, seed=0
        )
        return asked.setting()

    @cached_property
    def work(self) -> Work:
        """What it asks of a backbone."""
        return self.question.task.work(self.question.data)

    @cached_property
    def images(self) -> int:
        """In all of its data."""
        return sum(each.n_used for sets in self.question.data.values() for each in sets)

    @cached_property
    def alike(self) -> tuple[str, list[tuple[Group, float]]]:
        """How alike what was seen is, and that, the most alike first: with how many times its work this is."""
        seen = self._past.groups(self.question.task.name)
        if (same := seen.get(self.setting)) is not None:
            return "same question", [(same, self.times(same))]
        names = tuple(sorted(name for each in self.question.names.values() for name in each))
        here = [each for each in seen.values() if each.data == names]
        rated = [(each, self.times(each)) for each in here or seen.values()]
        rated.sort(key=lambda pair: abs(math.log(pair[1])))
        return "same data" if here else "other data", rated[:GROUPS]

    def times(self, group: Group) -> float:
        """How many times the group's work this question is: by images, and by the settings on the same data."""
        images = self.images / group.images if self.images and group.images else 1.0
        if group.settings is None or group.settings == plain(self.question.settings):
            return images
        try:
            theirs = type(self.question.task)(**group.settings).work(self.question.data)
        except (TypeError, ValueError):  # settings of another protocol
            return images
        cost, other = (each.passes * (each.side or 1) ** 2 for each in (self.work, theirs))
        return images * cost / other if cost and other else images


def _estimate(cell: Cell, asked: _Asked, past: Past, probes: "_Probes | None") -> Estimate:
    how, groups = asked.alike
    own = [_Match(one, times) for each, times in groups for one in each.of(cell.backbone)]
    if how == "same question" and own:
        return _from(own, TRUST["same cell"], f"records of {_cells(own)}")
    size = _size(cell, past)
    found = [_Match.of(one, times, each, size) for each, times in groups for one in each.nearest(size, NEAREST)]
    near = sorted((match for match in found if match.apart <= ALIKE), key=lambda match: match.apart)
    if probes is not None and not near:
        return probes.of(cell, asked.work)
    if not found:
        return UNKNOWN
    chosen = (near or found)[:NEAREST]
    return _from(chosen, TRUST[how] * (1.0 if near else UNSIZED), f"scaled from {_cells(chosen)}, {how}")


def _cells(found: Sequence[Any]) -> str:
    return f"{len(found)} cell{'s' * (len(found) > 1)}"


def _size(cell: Cell, past: Past) -> float | None:
    """Of its backbone, as it was seen, else guessed from the catalogue; None where it is in neither."""
    if cell.backbone in past.sizes:
        return past.sizes[cell.backbone]
    parameters = _catalogued().get(cell.backbone)
    return None if parameters is None else size_of(None, parameters, cell.identity.preprocess)


@cache
def _catalogued() -> Mapping[str, float]:
    return {each.name: each.parameters for each in entries()}


@dataclass(frozen=True)
class _Match:
    """A cell that was seen, how many times its work it is, how many times as slow and as large the backbone.

    ``apart`` is how far their sizes are (in logarithms); infinite where one is unknown.
    """

    seen: Seen
    times: float
    growth: float = 1.0
    larger: float = 1.0
    apart: float = 0.0

    @classmethod
    def of(cls, seen: Seen, times: float, group: Group, size: float | None) -> "_Match":
        """With a backbone of that size in the place of the one that was seen."""
        if size is None:
            return cls(seen, times, apart=math.inf)
        return cls(seen, times, group.growth(seen, size), math.exp(size - seen.size), abs(size - seen.size))

    def memory(self, memory_gb: float | None, constant_gb: float) -> float | None:
        """Weights and activations grow about as the square root of operations do; a smaller backbone may need all."""
        if memory_gb is None:
            return None
        return memory_gb + max(0.0, memory_gb - constant_gb) * (math.sqrt(max(1.0, self.larger)) - 1)


def _from(found: Sequence[_Match], trust: float, basis: str) -> Estimate:
    """The mean of what was seen, scaled; the range reaches from no scaling at all to all of it, and beyond by trust.

    Its end holds the extraction of features, which may have been in the cache where it was seen and need not be here.
    Memory grows with the backbone, never with the number of images.
    """
    host = [each.memory(each.seen.memory_gb, PROCESS_GB) for each in found]
    gpu = [each.memory(each.seen.gpu_memory_gb, 0.0) for each in found]
    return Estimate(
        seconds=sum(each.seen.seconds * each.times * each.growth for each in found) / len(found),
        low=min(each.seen.seconds * min(1.0, each.times) * min(1.0, each.growth) for each in found) / trust,
        high=max(each.seen.at_most * max(1.0, each.times) * max(1.0, each.growth) for each in found) * trust,
        memory_gb=max((each for each in host if each is not None), default=None),
        gpu_memory_gb=max((each for each in gpu if each is not None), default=None),
        basis=basis,
    )


class _Probes:
    """Asks a probe. Features are cached: of cells that only look at images the first on some data pays for all."""

    def __init__(self, probe: Callable[[Cell], Probe | None]) -> None:
        self.probe = probe
        self._looked_at: set[tuple[str, str]] = set()

    def of(self, cell: Cell, work: Work) -> Estimate:
        """What the probe says of a cell, in the order in which cells would be run."""
        if (probed := self.probe(cell)) is None:
            return UNKNOWN
        whole = _from_probe(probed, work, cell)
        if work.trained:
            return whole
        data = {(cell.loaded_as, each.manifest_sha256) for sets in cell.question.data.values() for each in sets}
        again = data <= self._looked_at
        self._looked_at |= data
        return replace(whole, low=0.0, seconds=CACHED_S if again else whole.seconds)


def _from_probe(probe: Probe, work: Work, cell: Cell) -> Estimate:
    """Its passes at the probe's speed; a training keeps weights, gradients, two moments and a batch's activations.

    ``side`` scales by pixels, which is right for convolutions and too little for attention: the range holds it.
    """
    height, width = cell.identity.preprocess["size"] if cell.identity.preprocess else (224, 224)
    larger = work.side**2 / (height * width) if work.side else 1.0
    seconds = work.passes * probe.seconds * larger
    training = 4 * probe.weights_gb + work.batch * probe.kept_gb * larger if work.trained else 0.0
    on_gpu = probe.gpu_memory_gb is not None
    return Estimate(
        seconds=seconds,
        low=seconds / PROBED_TRUST,
        high=seconds * PROBED_TRUST + PROBED_SPARE_S,
        memory_gb=probe.memory_gb + (0.0 if on_gpu else training),
        gpu_memory_gb=None if probe.gpu_memory_gb is None else max(probe.gpu_memory_gb, training),
        basis="probe",
    )
