"""What a cluster is like: what jobs of each kind ask for, how they set themselves up, how many run at once."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from slurm.resources import Resources


class Profile(BaseModel):
    """As a person writes it. ``tasks`` holds, by the name of a task or its beginning up to a dot, what differs.

    ``setup`` are shell lines run before a job (modules, an environment); ``python`` is the interpreter there.
    ``parallel`` bounds the jobs of a sweep that run at once, ``job_min`` is how long a job of several units should
    take, ``signal_s`` how long before its end a job is warned: twice what writing a checkpoint takes, and a minute.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    defaults: dict[str, Any] = {}
    tasks: dict[str, dict[str, Any]] = {}
    setup: list[str] = []
    python: str | None = None
    parallel: int = Field(default=100, ge=1)
    job_min: float = Field(default=30.0, gt=0)
    signal_s: int = Field(default=120, ge=1)

    @model_validator(mode="after")
    def _resources_hold(self) -> "Profile":
        for name in ("", *self.tasks):
            self.resources(name)
        return self

    def resources(self, task: str) -> Resources:
        """What a job for a task asks for: the defaults, then what is said of its kind, the closest name last.

        >>> Profile(defaults={"time_min": 30}, tasks={"classification": {"mem_gb": 8}}).resources("classification.knn")
        Resources(partition=None, account=None, qos=None, constraint=None, time_min=30, mem_gb=8.0, cpus_per_task=4, \
gpus_per_node=0, tasks_per_node=None, nodes=1)
        """
        parts = task.split(".")
        asked = dict(self.defaults)
        for length in range(1, len(parts) + 1):
            asked |= self.tasks.get(".".join(parts[:length]), {})
        return Resources(**asked)
