"""An array's folder: the pickle of each job, and the batch script, as submitit has them.

jobs/SUBMISSION/submit.sh                      the script
jobs/SUBMISSION/3.pkl                          what job 3 of the array calls
jobs/SUBMISSION/123_3_submitted.pkl            the same under the name that submitit looks for; a checkpoint replaces it
jobs/SUBMISSION/123_3_0_log.out, _result.pkl   what process 0 of job 3 printed, and what its call returned
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from submitit.core.utils import DelayedSubmission
from submitit.slurm.slurm import SlurmExecutor

from slurm.place import Work
from slurm.profile import Profile
from slurm.resources import Resources

SCRIPT = "submit.sh"
_TIMEOUTS = 10_000
"""As often may a job be requeued at its time limit: how often is enough is for whoever supervises to say."""


def write_array(
    folder: Path,
    works: Sequence[Work],
    resources: Resources,
    profile: Profile,
    *,
    name: str,
    parallel: int,
    environment: Mapping[str, str],
) -> Path:
    """Write an array that calls these, ``parallel`` of them at once; the script, for sbatch.

    ``name`` is the jobs' name, the folder's own name their comment.
    """
    executor = SlurmExecutor(folder, max_num_timeout=_TIMEOUTS, python=profile.python or shlex.quote(sys.executable))
    executor.update_parameters(
        **_asked(resources),
        job_name=name,
        comment=folder.name,
        wckey=None,  # submitit's own would be refused where wckeys are kept
        array_parallelism=parallel,
        # A third of its time at most: SLURM may be a minute early, and a job that is warned as it starts dies of it.
        signal_delay_s=min(profile.signal_s, 20 * resources.time_min),
        stderr_to_stdout=True,
        additional_parameters={"requeue": True},
        srun_args=["--kill-on-bad-exit=1", f"--cpus-per-task={resources.cpus_per_task}"],
        setup=[*profile.setup, *_exports(environment), *_rendezvous(resources), *_own_pickle(folder)],
    )
    executor.parameters["map_count"] = len(works)
    folder.mkdir(parents=True)
    for index, work in enumerate(works):
        call = DelayedSubmission(work)
        call.set_timeout(resources.time_min, _TIMEOUTS)
        call.dump(folder / f"{index}.pkl")
    script = folder / SCRIPT
    script.write_text(executor._make_submission_file_text(executor._submitit_command_str, ""), encoding="utf-8")
    return script


def _asked(resources: Resources) -> dict[str, object]:
    """In sbatch's words; what is None or no GPU is not said."""
    asked = {
        "partition": resources.partition,
        "account": resources.account,
        "qos": resources.qos,
        "constraint": resources.constraint,
        "time": resources.time_min,
        "mem": None if resources.mem_gb is None else f"{round(resources.mem_gb * 1024)}M",
        "nodes": resources.nodes,
        "ntasks_per_node": resources.processes_per_node,
        "cpus_per_task": resources.cpus_per_task,
        "gpus_per_node": resources.gpus_per_node or None,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _exports(environment: Mapping[str, str]) -> list[str]:
    """After the person's own lines, for modules set PYTHONPATH too; and no code from the folder that one submits in."""
    return [f"export {name}={shlex.quote(value)}" for name, value in {"PYTHONSAFEPATH": "1", **environment}.items()]


def _rendezvous(resources: Resources) -> list[str]:
    """Where the processes of a job meet: its first node, at a port that follows from its id."""
    if resources.processes == 1:
        return []
    return [
        'export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        "export MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000))",
    ]


def _own_pickle(folder: Path) -> list[str]:
    """The pickle gets the name with the job's id in the job itself, so nothing is left to do for who submitted it.

    A requeued job keeps its checkpoint. What submitit was writing when it was killed would make its next write fail.
    """
    return [
        f'own={shlex.quote(str(folder))}/"${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"',
        'rm -f "$own"_*.save_tmp',
        '[ -e "${own}_submitted.pkl" ] || ln -s "$SLURM_ARRAY_TASK_ID.pkl" "${own}_submitted.pkl"',
    ]
