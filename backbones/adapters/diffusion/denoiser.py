"""A denoiser read at its blocks: the library's own forward pass, ended when the last block asked for has answered."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from backbones.adapters.diffusion.latents import Latents
from backbones.adapters.maps import Map

Timesteps = Int[Tensor, "batch"]
TIMESTEPS = (100, 50, 200, 0)
"""Declared for choosing among, the most promising first: some noise helps, much of it hides the image.

Stable Diffusion is read at t = 261 by DIFT (Tang et al., 2023), at small noise by DDAE (Xiang et al., 2023)."""


class Denoiser(nn.Module, ABC):
    """A noise predictor under one constant condition. Blocks are named in the order they are executed in."""

    method: str
    blocks: tuple[str, ...]
    default: str
    """The block an embedding is read from."""
    promising: str
    """The block the literature reads for meaning, around which others are tried first."""
    patch: int = 1
    """Latents' sides must be multiples of this."""

    def __init__(self, model: Any, condition: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.model = model
        self.condition = nn.Module()
        for name, tensor in condition.items():
            self.condition.register_buffer(name, tensor)

    def forward(self, latents: Latents, timesteps: Timesteps, blocks: Iterable[str]) -> dict[str, Map]:
        """The maps of these blocks; nothing after the last of them is executed."""
        modules = {name: self.module_of(name) for name in blocks}
        found = read_modules(modules, lambda: self.predict(latents, timesteps))
        return {name: self.as_map(found[name], latents) for name in modules}

    @abstractmethod
    def predict(self, latents: Latents, timesteps: Timesteps) -> object:
        """The library's own forward pass, under the condition."""

    @abstractmethod
    def module_of(self, block: str) -> nn.Module:
        """The module whose output is the block's."""

    @abstractmethod
    def as_map(self, output: Tensor, latents: Latents) -> Map:
        """A block's output as channels over positions."""

    @abstractmethod
    def pyramid(self) -> dict[str, int]:
        """The blocks of the feature maps, and each one's stride in latents."""

    @abstractmethod
    def groups(self) -> list[tuple[str, list[nn.Module]]]:
        """The modules that an embedding takes, in depth order."""

    def candidates(self) -> tuple[str, ...]:
        """The blocks to choose among."""
        return self.blocks

    def constant(self, name: str, batch: int) -> Float[Tensor, "..."] | Int[Tensor, "..."]:
        """A tensor of the condition, the same for each image."""
        tensor: Tensor = getattr(self.condition, name)
        return tensor.expand(batch, *tensor.shape[1:])

    def readouts(self) -> tuple[str, ...]:
        """``t{T}-{block}/mean``: what an embedding is, then by nearness to the promising block and timestep."""
        place = {block: index for index, block in enumerate(self.blocks)}
        distance = {block: abs(place[block] - place[self.promising]) for block in self.candidates()}
        ranked = sorted(product(TIMESTEPS, distance), key=lambda each: TIMESTEPS.index(each[0]) + distance[each[1]])
        first = f"t0-{self.default}/mean"
        return tuple(dict.fromkeys([first, *(f"t{timestep}-{block}/mean" for timestep, block in ranked)]))


class _ReadAllError(Exception):
    """Every output asked for is known: the rest of the forward pass is not needed."""


def read_modules(modules: Mapping[str, nn.Module], run: Callable[[], object], stop: bool = True) -> dict[str, Tensor]:
    """The outputs of these modules while ``run`` runs, which ends with the last of them (``stop=False``: at its end).

    Of a tuple the first tensor is meant.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            found[name] = output[0] if isinstance(output, tuple) else output
            if stop and len(found) == len(modules):
                raise _ReadAllError

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        run()
    except _ReadAllError:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return found
