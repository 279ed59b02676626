"""What a checkpoint holds of a training: gathered from its parts, and put back."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from backbones.training import optimiser_state
from backbones.training.checkpoint import Checkpoint
from backbones.training.optimiser_state import like, whole
from backbones.training.stepping import Stepper


def gather(stepper: Stepper) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Tensors by file, and plain facts. Every process must ask where the weights are sharded.

    There are no states of generators: all chance is drawn anew from (seed, step, ...).
    """
    state, plain = optimiser_state.gather(stepper.optimiser)
    tensors = {"model": weights(stepper.trainee), "optimiser": state}
    facts: dict[str, Any] = {"optimiser": plain, "scaler": stepper.fabric._precision.state_dict(), "averaged": 0}
    if stepper.average is not None:
        tensors["average"] = weights(stepper.average.module)
        facts["averaged"] = int(stepper.average.n_averaged)
    return tensors, facts


def put_back(stepper: Stepper, checkpoint: Checkpoint) -> None:
    """The other way. That it is of the same training has been checked."""
    tensors, facts = checkpoint.tensors, checkpoint.facts
    load_weights(stepper.trainee, tensors["model"])
    optimiser_state.put_back(stepper.optimiser, tensors["optimiser"], facts["optimiser"])
    stepper.fabric._precision.load_state_dict(facts["scaler"])
    if stepper.average is not None:
        load_weights(stepper.average.module, tensors["average"])
        stepper.average.n_averaged.fill_(facts["averaged"])


def weights(module: nn.Module) -> dict[str, Tensor]:
    """Whole copies on the CPU, each in memory of its own (safetensors keeps no tensor twice)."""
    return {name: whole(tensor) for name, tensor in module.state_dict().items()}


def load_weights(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Strictly, into whatever layout and sharding the module has."""
    own = module.state_dict()
    module.load_state_dict({name: like(value, own[name]) for name, value in values.items()})
