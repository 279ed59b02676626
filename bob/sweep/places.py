"""Where a plan runs: the places by name, and what each is set up with."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from bob.cluster_profile import read_profile
from bob.estimate import Estimate, estimate, measured_on
from bob.gauntlet import Summary
from bob.options import LaunchOptions, RunOptions, TrainingOptions, Where
from bob.plan import Cell, PlanError
from bob.provenance import commit
from bob.sweep.asked import packed
from bob.sweep.code import job_environment, keep_code
from bob.sweep.filling import FilledIn
from bob.sweep.launching import Launch
from bob.sweep.racing import helpers, unit_of
from bob.sweep.roll import sweep_folder
from bob.sweep.shift import Shift
from results.store import Store
from slurm.cluster import Cluster
from slurm.gpus import detect_gpus
from slurm.machine import Machine
from slurm.parcel import Parcel, Unit
from slurm.place import Place
from slurm.profile import Profile
from slurm.supervise import Pace
from tasks.catalogue import TASKS

PLACE = "place.json"
"""In a sweep's folder: where it was launched last, for who wants to end it."""
ATTEMPTS = "3"
"""How often a cell may end its process before it is given up."""


def run_elsewhere(
    cells: Sequence[Cell],
    launching: LaunchOptions,
    options: RunOptions,
    training: TrainingOptions,
    plan: Path | None,
    say: Callable[[str], None],
) -> Summary:
    """Launch the cells at the place asked for and watch until they are settled.

    Raises :class:`PlanError` for a profile that does not hold or a cluster that refuses it, ``OSError`` for a store
    that cannot be written.
    """
    store = Store(options.store.resolve())
    name = launching.name or (plan.stem if plan else "demo")
    folder = sweep_folder(store.root, name)
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**job_environment(keep_code(store.root, commit())), "BOB_ATTEMPT_LIMIT": ATTEMPTS}
    profile = _profile(launching, training)
    estimates = estimate(cells, measured_on(store.records(), any(_uses_gpus(cell, profile) for cell in cells)))
    there = _place(launching.on, name, folder, profile, environment)
    place = FilledIn(
        there,
        estimates,
        lambda key: bool(store.attempts(key)),
        "gpu" if launching.on is Where.GPUS else "host",
    )
    (folder / PLACE).write_text(json.dumps({"place": launching.on.value, "profile": profile.model_dump(mode="json")}))
    python = profile.python or sys.executable

    def work(parcel: Parcel) -> Shift:
        return Shift(folder, parcel.units, python, environment, profile.signal_s / 2)

    whole = str(plan.resolve()) if plan else ""
    launch = Launch(name, whole, packed(options, training), place, _pace(there, profile), work, say)
    try:
        with there if isinstance(there, Machine) else nullcontext():  # jobs here end with us, a cluster's go on
            return launch.run(cells, _units(cells, profile, estimates), store, folder)
    except ValueError as error:
        raise PlanError([str(error)]) from None


def _profile(launching: LaunchOptions, training: TrainingOptions) -> Profile:
    if launching.profile is not None:
        return read_profile(launching.profile, TASKS.found)
    return Profile(defaults={"gpus_per_node": training.devices if launching.on is Where.GPUS else 0})


def _place(where: Where, name: str, folder: Path, profile: Profile, environment: Mapping[str, str]) -> Place:
    if where is Where.SLURM:
        return Cluster(name, folder, profile, environment)
    gpus = detect_gpus()
    if not gpus:
        raise PlanError(["--on gpus: no GPU is seen here (nvidia-smi, CUDA_VISIBLE_DEVICES); use --on local"])
    return Machine(name, folder, gpus, environment)


def _pace(there: Place, profile: Profile) -> Pace:
    if isinstance(there, Machine):  # asking it costs nothing, and a GPU waits for the next job
        return Pace(poll_s=1.0, job_min=profile.job_min, at_once=len(there.gpus))
    return Pace(job_min=profile.job_min)


def _uses_gpus(cell: Cell, profile: Profile) -> bool:
    return profile.resources(cell.question.task.name).gpus_per_node > 0


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
