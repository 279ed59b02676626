"""The devices of a training: Fabric's strategy and precision for an execution."""

from typing import Any

from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.precision import MixedPrecision, Precision
from lightning_fabric.strategies.single_device import SingleDeviceStrategy

from backbones.base import resolve_device
from backbones.training.execution import Execution


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


def fabric_of(execution: Execution) -> Fabric:
    """Fabric on the one device."""
    device = resolve_device(execution.device)
    return Fabric(
        accelerator=device.type,
        strategy=SingleDeviceStrategy(device=device),
        devices=1,
        plugins=[precision_of(execution), LightningEnvironment()],
    )
