"""Where a plan runs: the places by name, and what each is set up with."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bob.cluster_profile import read_profile
from bob.estimate import Estimate, estimate_on
from bob.gauntlet import Summary
from bob.options import LaunchOptions, RunOptions, TrainingOptions, Where
from bob.plan import Cell, PlanError
from bob.provenance import commit
from bob.sweep.asked import packed
from bob.sweep.cancelling import PLACE
from bob.sweep.code import job_environment, keep_code
from bob.sweep.filling import FilledIn
from bob.sweep.launching import Launch
from bob.sweep.racing import helpers, split, unit_of
from bob.sweep.roll import sweep_folder
from bob.sweep.shift import Shift
from results.attempts import ATTEMPTS, LIMIT
from results.store import Store
from slurm.cluster import Cluster
from slurm.gpus import detect_gpus
from slurm.machine import Machine
from slurm.parcel import Parcel, Unit
from slurm.place import Place
from slurm.profile import Profile
from slurm.supervise import Pace
from tasks.catalogue import TASKS


def run_elsewhere(
    cells: Sequence[Cell],
    launching: LaunchOptions,
    options: RunOptions,
    training: TrainingOptions,
    plan: Path | None,
    say: Callable[[str], None],
) -> Summary:
    """Launch the cells at the place asked for and watch until they are settled.

    Raises :class:`PlanError` for a profile that does not hold or a place that refuses it, ``OSError`` for a store that
    cannot be written.
    """
    store = Store(options.store.resolve())
    name = launching.name or (plan.stem if plan else "demo")
    folder = sweep_folder(store.root, name)
    profile = _profile(launching, training)
    environment = {**job_environment(keep_code(store.root, commit())), LIMIT: str(ATTEMPTS)}
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"place": launching.on.value, "profile": profile.model_dump(mode="json")}
    python = profile.python or sys.executable

    def work(parcel: Parcel) -> Shift:
        return Shift(folder, parcel.units, python, environment, profile.signal_s / 2)

    estimates = estimate_on(cells, store.records(), lambda task: profile.resources(task).gpus_per_node > 0)
    whole = str(plan.resolve()) if plan else ""
    try:
        with _place(launching.on, name, folder, profile, environment) as (place, pace):
            # Not before: a place that is not there must not hide from bob cancel where the sweep's jobs are.
            (folder / PLACE).write_text(json.dumps(facts), encoding="utf-8")
            asking = FilledIn(
                place,
                estimates,
                lambda unit: bool(store.attempts(split(unit)[0])),
                "gpu" if launching.on is Where.GPUS else "host",
            )
            launch = Launch(name, whole, packed(options, training), asking, pace, work, say)
            return launch.run(cells, _units(cells, profile, estimates), store, folder)
    except ValueError as error:
        raise PlanError([str(error)]) from None


def _profile(launching: LaunchOptions, training: TrainingOptions) -> Profile:
    if launching.profile is not None:
        return read_profile(launching.profile, TASKS.found)
    return Profile(defaults={"gpus_per_node": training.devices if launching.on is Where.GPUS else 0})


@contextmanager
def _place(
    where: Where, name: str, folder: Path, profile: Profile, environment: Mapping[str, str]
) -> Iterator[tuple[Place, Pace]]:
    """The place, and how it is watched."""
    if where is Where.SLURM:
        yield Cluster(name, folder, profile, environment), Pace(job_min=profile.job_min, at_once=profile.parallel)
        return
    gpus = detect_gpus()
    if not gpus:
        raise PlanError(["--on gpus: no GPU is seen here (nvidia-smi, CUDA_VISIBLE_DEVICES); use --on local"])
    with Machine(name, folder / "jobs", gpus, environment) as machine:
        # Asking it costs nothing, and a GPU waits for its next job.
        yield machine, Pace(poll_s=1.0, job_min=profile.job_min, at_once=len(gpus))


def _units(cells: Sequence[Cell], profile: Profile, estimates: Mapping[str, Estimate]) -> list[Unit]:
    tasks = {cell.question.task.name for cell in cells}
    resources = {task: profile.resources(task) for task in tasks}  # one object a task: units are told apart by it
    units = []
    for cell in (each for each in cells if each.refusal is None):
        asked, seconds = resources[cell.question.task.name], estimates[cell.key].seconds
        names = [unit_of(cell.key, number) for number in range(1, 1 + helpers(cell))]
        if names:  # who races does so in a job of its own
            seconds = 60 * profile.job_min
        units.append(Unit(cell.key, names[0] if names else cell.loaded_as, asked, seconds))
        units += [Unit(name, name, asked, seconds) for name in names]
    return units
