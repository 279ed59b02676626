"""What splitting a batch does to BatchNorm, said where it happens: it is the one thing that sees the split."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def synchronise(module: nn.Module, device: torch.device) -> None:
    """BatchNorm inside ``module`` takes its statistics over the micro-batches of all devices, in place.

    On GPUs only: torch has it for no other device, and elsewhere :func:`batch_norm_note` says what each layer saw.
    Frozen layers, in evaluation mode, are as they were; so are the names of what is saved.
    """
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]


def batch_norm_note(module: nn.Module, micro_batch: int, global_batch: int) -> str | None:
    """A sentence for the record, where layers of BatchNorm learn from less than the global batch; else None.

    A layer in training mode normalises by the mean and variance of its micro-batch, so gradients depend on its size,
    and its running statistics take a step of ``momentum`` for each micro-batch of their device, the first one's being
    kept. Frozen layers (in evaluation mode) and other normalisations are not touched by any split.
    """
    if micro_batch >= global_batch:
        return None
    layers = sum(isinstance(layer, _BatchNorm) and layer.training for layer in module.modules())
    if not layers:
        return None
    return (
        f"{layers} layers of BatchNorm saw micro-batches of {micro_batch} of the global batch of {global_batch}: "
        "the number depends on that size"
    )
