"""What a job asks a scheduler for. Units are in the names."""

from pydantic import BaseModel, ConfigDict, Field


class Resources(BaseModel):
    """Of one job; None leaves it to the cluster. A process is started for each GPU of each node, at least one a node.

    ``time_min`` below two minutes is refused: a scheduler warns up to a minute early, and a job needs time to listen.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time_min: int = Field(default=60, ge=2)
    mem_gb: float | None = Field(default=None, gt=0)
    cpus_per_task: int = Field(default=4, ge=1)
    gpus_per_node: int = Field(default=0, ge=0)
    tasks_per_node: int | None = Field(default=None, ge=1)
    nodes: int = Field(default=1, ge=1)

    @property
    def processes_per_node(self) -> int:
        """Processes that train together on a node: as said, else one a GPU, else one."""
        return self.tasks_per_node or max(1, self.gpus_per_node)

    @property
    def processes(self) -> int:
        """Processes of the whole job."""
        return self.processes_per_node * self.nodes
