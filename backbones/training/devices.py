"""The devices of a training: Fabric's strategy and precision for an execution."""

import os
from datetime import timedelta
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.plugins.precision import MixedPrecision, Precision
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.strategies.single_device import SingleDeviceStrategy
from lightning_fabric.strategies.strategy import Strategy

from backbones.base import resolve_device
from backbones.training.execution import Execution
from backbones.training.sharding import shard

PATIENCE = timedelta(hours=6)
"""How long processes wait for each other: the first one alone evaluates. A dead one is not noticed by waiting."""


class Autocast(MixedPrecision):
    """Mixed precision that leaves a batch alone: Fabric's would round targets (a regression's, a mixture's) as well."""

    def convert_input(self, data: Any) -> Any:
        """As it is; autocast casts what an operation needs in half precision."""
        return data


def precision_of(execution: Execution) -> Precision:
    """Fabric's plugin, with a gradient scaler for float16."""
    device = resolve_device(execution.device).type
    if execution.precision == "bfloat16":
        return Autocast("bf16-mixed", device)
    if execution.precision == "float16":
        return Autocast("16-mixed", device)
    return Precision()


def processes_here() -> int:
    """How many processes a launcher (torchrun, srun) has started that this one is one of; 1 without a launcher."""
    if TorchElasticEnvironment.detect():
        return int(os.environ["WORLD_SIZE"])
    if SLURMEnvironment.detect():
        return int(os.environ.get("SLURM_NTASKS", "1"))
    return 1


def fabric_of(execution: Execution, environment: ClusterEnvironment | None = None) -> Fabric:
    """Fabric, its processes in touch with each other. ``environment`` tells a process its place among others.

    None: alone on one device, or in the launcher's that started this process.
    """
    device = resolve_device(execution.device)
    world = execution.devices * execution.nodes
    if environment is None:
        started = TorchElasticEnvironment if TorchElasticEnvironment.detect() else SLURMEnvironment
        environment = LightningEnvironment() if world == 1 else started()
    alone = [device.index or 0] if device.type == "cuda" else 1
    fabric = Fabric(
        accelerator=device.type,
        strategy=_strategy(execution, device, world),
        devices=alone if world == 1 else execution.devices,
        num_nodes=execution.nodes,
        plugins=[precision_of(execution), environment],
    )
    fabric.launch()
    return fabric


def _strategy(execution: Execution, device: torch.device, world: int) -> Strategy:
    if world == 1:
        return SingleDeviceStrategy(device=device)
    if execution.strategy != "fsdp":
        return DDPStrategy(timeout=PATIENCE, gradient_as_bucket_view=True)
    if execution.precision == "float16":
        raise ValueError("strategy='fsdp' with precision='float16' is not supported; use precision='bfloat16'")
    return ModelParallelStrategy(shard, data_parallel_size=world, tensor_parallel_size=1, timeout=PATIENCE)


def is_sharded(fabric: Fabric) -> bool:
    """Whether each process holds only a part of the weights."""
    return isinstance(fabric.strategy, ModelParallelStrategy)
