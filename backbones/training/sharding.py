"""Fully sharded data parallelism (FSDP2): each process keeps a part of every weight."""

from typing import TypeVar

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from backbones.training.trainee import Whole

Module = TypeVar("Module", bound=nn.Module)


def shard(module: Module, mesh: DeviceMesh) -> Module:
    """In place. Gathered together: each member of a list or sequence (a block), then what is left of the module. What
    is to stay :class:`~backbones.training.trainee.Whole` is only brought to the device.
    """
    over = mesh["data_parallel"]
    kept = {each for part in module.modules() if isinstance(part, Whole) for each in part.parameters(recurse=False)}
    for each in kept:
        each.data = each.data.to(over.device_type)  # the current one of its kind
    for part in reversed(list(module.modules())):  # inner blocks before outer ones
        if isinstance(part, nn.ModuleList | nn.Sequential):
            for block in part:
                if any(True for _ in block.parameters()):
                    fully_shard(block, mesh=over, ignored_params=kept)
    fully_shard(module, mesh=over, ignored_params=kept)
    return module
