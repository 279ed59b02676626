"""Fully sharded data parallelism (FSDP2): each process keeps a part of every weight."""

from typing import TypeVar

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

Module = TypeVar("Module", bound=nn.Module)


def shard(module: Module, mesh: DeviceMesh) -> Module:
    """In place. Gathered together: each member of a list or sequence (a block), then what is left of the module."""
    over = mesh["data_parallel"]
    for part in reversed(list(module.modules())):  # inner blocks before outer ones
        if isinstance(part, nn.ModuleList | nn.Sequential):
            for block in part:
                if any(True for _ in block.parameters()):
                    fully_shard(block, mesh=over)
    fully_shard(module, mesh=over)
    return module
