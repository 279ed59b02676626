"""An optimiser's state by parameter name: tensors apart from plain numbers, so that nothing has to be pickled."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer


def whole(tensor: Tensor) -> Tensor:
    """A copy on the CPU; of a sharded tensor all of it (every process must ask)."""
    full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return full.detach().to("cpu", copy=True).contiguous()


def like(values: Tensor, target: Tensor) -> Tensor:
    """The values, sharded as ``target`` is."""
    if isinstance(target, DTensor) and values.shape == target.shape:
        return distribute_tensor(values.to(target.device), target.device_mesh, target.placements)
    return values


def gather(optimiser: Optimizer) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """Tensors as ``NAME/KEY`` and plain values as ``{NAME: {KEY: ...}}``. Group options are the recipe's: not kept."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for name, parameter in _named(optimiser):
        for key, value in optimiser.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{name}/{key}"] = whole(value)
            else:
                plain.setdefault(name, {})[key] = value
    return tensors, plain


def put_back(optimiser: Optimizer, tensors: Mapping[str, Tensor], plain: Mapping[str, Mapping[str, Any]]) -> None:
    """Into an optimiser over parameters of the same names."""
    state = optimiser.state_dict()
    state["state"] = {}
    for index, (name, parameter) in enumerate(_named(optimiser)):
        mine = {key: value for key, value in tensors.items() if key.rpartition("/")[0] == name}
        values = {key.rpartition("/")[2]: like(value, parameter) for key, value in mine.items()}
        values |= dict(plain.get(name, {}))
        if values:
            state["state"][index] = values
    optimiser.load_state_dict(state)


def _named(optimiser: Optimizer) -> list[tuple[str, torch.nn.Parameter]]:
    """In the order in which torch numbers them."""
    return [pair for group in optimiser.param_groups for pair in zip(group["names"], group["params"], strict=True)]
