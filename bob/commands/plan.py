"""``bob plan``."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bob.commands.opening import extractor_of, read_cluster, resolve
from bob.options import Asked, RunOptions, from_options

if TYPE_CHECKING:
    from bob.plan import Cell
    from bob.roster import Roster
    from results.store import Store
    from slurm.profile import Profile


@from_options(Asked, RunOptions)
def plan_command(
    asked: Asked,
    options: RunOptions,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="What it will cost: from records, else from a short probe.")
    ] = False,
    profile: Annotated[Path | None, typer.Option(help="A cluster's profile: what jobs ask for, how many run.")] = None,
) -> None:
    """What would run: each cell done, stale, failed before or to do, and why. Computes nothing (but a probe)."""
    from bob.states import State, states
    from results.store import Store

    mistakes: list[str] = []
    cluster = read_cluster(profile, mistakes)
    cells, roster = resolve(asked, options, earlier=mistakes)
    store = Store(options.store)
    found = list(states(cells, store))
    if estimate:
        left = [cell for cell, state, _ in found if state not in (State.DONE, State.REFUSED)]
        for line in costs(left, roster, store, options, cluster):
            typer.echo(line)
        return
    for cell, state, why in found:
        typer.echo(f"{state:<14}  {cell.backbone}  {cell.address.setting()}  seed {cell.seed}  ({why})")
    counts = {state: sum(each is state for _, each, _ in found) for _, state, _ in found}
    typer.echo(f"{len(found)} cells: " + ", ".join(f"{count} {state}" for state, count in counts.items()))


def costs(
    cells: "Sequence[Cell]", roster: "Roster", store: "Store", options: RunOptions, cluster: "Profile | None"
) -> Iterator[str]:
    """Lines of what these cells will cost on the cluster, or on this machine alone."""
    from backbones.base import resolve_device
    from backbones.features import usable_cores
    from bob.estimate import estimate_on
    from bob.forecast import forecast
    from bob.probing import Prober
    from bob.progress import Progress
    from slurm.resources import Resources

    if not cells:
        yield "nothing to do"
        return
    gpu_here = resolve_device(options.device).type == "cuda"
    here = Resources(gpus_per_node=int(gpu_here), cpus_per_task=options.workers or usable_cores())
    resources = (lambda _: here) if cluster is None else cluster.resources
    with Progress() as progress:
        prober = Prober(roster, extractor_of(options, progress).settings, progress.say)
        estimates = estimate_on(
            cells, store.records(), lambda task: resources(task).gpus_per_node > 0, prober, probe_on_gpu=gpu_here
        )
    yield from forecast(
        cells,
        estimates,
        resources,
        parallel=1 if cluster is None else cluster.parallel,
        job_min=30.0 if cluster is None else cluster.job_min,
    )
