"""What a plan will cost, told in lines: by backbone and task, together, and when it would be done."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from bob.estimate import START_UP_S, Estimate, filled
from bob.plan import Cell
from slurm.resources import Resources


def forecast(
    cells: Sequence[Cell],
    estimates: Mapping[str, Estimate],
    resources: Callable[[str], Resources],
    parallel: int,
    job_min: float,
) -> Iterator[str]:
    """A line a backbone and task, then GPU-hours and core-hours, then the end if so many jobs run at once.

    ``resources`` are what jobs of a task ask for; what estimates fill in of it is told too. A job is as many cells as
    take ``job_min`` minutes.
    """
    together: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        together.setdefault((cell.backbone, cell.question.task.name), []).append(cell)
    for (backbone, task), several in together.items():
        found = [estimates[cell.key] for cell in several]
        asks = _asks([filled(resources(task), [each]) for each in found])
        yield f"{_count(len(several), 'cell')}  {backbone}  {task}  {_each(found)}  asks {asks}  ({_basis(found)})"
    yield from _totals(cells, estimates, resources)
    yield from _end(cells, estimates, parallel, job_min)


def _each(found: Sequence[Estimate]) -> str:
    known = [(each.seconds, each.low, each.high) for each in found if each.seconds is not None]
    if not known:
        return "time unknown"
    seconds, lows, highs = zip(*known, strict=True)
    mean = sum(seconds) / len(seconds)
    memory = max((each.memory_gb for each in found if each.memory_gb is not None), default=None)
    gpu = max((each.gpu_memory_gb for each in found if each.gpu_memory_gb is not None), default=None)
    told = f"each {duration(mean)} ({duration(min(lows))} to {duration(max(highs))})"
    told += "" if memory is None else f"  memory {memory:.1f} GB"
    return told + ("" if gpu is None else f"  GPU memory {gpu:.1f} GB")


def _asks(asked: Sequence[Resources]) -> str:
    """The most that any of the jobs of one cell asks for."""
    minutes, memory = max(each.time_min for each in asked), max(each.mem_gb or 0.0 for each in asked)
    gpus = max(each.gpus_per_node * each.nodes for each in asked)
    told = [f"{minutes} min", f"{memory:g} GB" if memory else "", _count(gpus, "GPU") if gpus else ""]
    return ", ".join(filter(None, told))


def _basis(found: Sequence[Estimate]) -> str:
    return "; ".join(dict.fromkeys(each.basis for each in found))


def _totals(
    cells: Sequence[Cell], estimates: Mapping[str, Estimate], resources: Callable[[str], Resources]
) -> Iterator[str]:
    """GPU-hours of tasks that ask for GPUs, core-hours of the others; without the cells that nothing is known of."""
    spent = {"GPU-hours": [0.0, 0.0, 0.0], "core-hours": [0.0, 0.0, 0.0]}
    unknown = 0
    for cell in cells:
        each, asked = estimates[cell.key], resources(cell.question.task.name)
        if each.seconds is None or each.low is None or each.high is None:
            unknown += 1
            continue
        gpus = asked.gpus_per_node * asked.nodes
        total = spent["GPU-hours" if gpus else "core-hours"]
        units = gpus or asked.cpus_per_task * asked.processes
        for place, seconds in enumerate((each.seconds, each.low, each.high)):
            total[place] += seconds / 3600 * units
    parts = [f"{mean:,.3g} {unit} ({low:,.3g} to {high:,.3g})" for unit, (mean, low, high) in spent.items() if mean]
    yield f"total of {_count(len(cells), 'cell')}: " + (", ".join(parts) or "unknown")
    if unknown:
        yield f"{_count(unknown, 'cell')} of unknown cost not in it"


def _end(cells: Sequence[Cell], estimates: Mapping[str, Estimate], parallel: int, job_min: float) -> Iterator[str]:
    """When all is done if jobs start as soon as they may: waiting in the cluster's queue is in none of it.

    No schedule beats the longest cell or the mean load; one that hands the next job to whoever is free is no longer
    than both together (Graham 1966), which is where the range ends.
    """
    known = [each for each in (estimates[cell.key] for cell in cells) if each.seconds is not None]
    if not known:
        return
    expected, soonest, latest = (
        _bounds([cost for cost in costs if cost is not None], parallel, job_min)
        for costs in zip(*((each.seconds, each.low, each.high) for each in known), strict=True)
    )
    span = f"{duration(expected[0])} ({duration(soonest[0])} to {duration(latest[1])})"
    yield f"done in {span} with {_count(parallel, 'job')} at once, queues aside"


def _bounds(seconds: Sequence[float], parallel: int, job_min: float) -> tuple[float, float]:
    """Of the time that all of it takes, start-up included: jobs are of several short cells or of one long one."""
    jobs = max(1.0, min(len(seconds), sum(seconds) / 60 / job_min))
    load = (sum(seconds) + jobs * START_UP_S) / min(parallel, len(seconds))
    longest = max(seconds) + START_UP_S
    return max(load, longest), load if parallel == 1 else load + longest


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def duration(seconds: float) -> str:
    """
    >>> duration(0.4), duration(75), duration(5400), duration(200_000)
    ('0.4 s', '1.2 min', '1.5 h', '2.3 d')
    """
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
