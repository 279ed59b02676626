"""A model that normalises by a batch's own statistics, as in training, and is not changed by it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones.training.evaluation import evaluating


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, but BatchNorm uses the batch's mean and variance and keeps no running ones.

    In training mode its layers on several GPUs would wait for the other processes, which are not asked. And before any
    training the running ones are of nothing.
    """
    with ExitStack() as stack:
        stack.enter_context(evaluating(model))
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                stack.callback(module._buffers.update, dict(module._buffers))
                module.running_mean = module.running_var = None
        yield
