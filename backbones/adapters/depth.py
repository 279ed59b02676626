"""Groups of parameters in depth order, for models whose library has no such order of its own."""

from itertools import groupby

from torch import nn


def by_block(model: nn.Module, head: nn.Module | None = None) -> list[tuple[str, list[nn.Parameter]]]:
    """One group a block, in the order modules are registered (that of use, in every torchvision model).

    A block is the numbered part of a name: ``layer1.0.conv2`` belongs to ``layer1.0``. ``head`` is left out.

    >>> [name for name, _ in by_block(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Linear(4, 2)))]
    ['0 0', '1 2']
    """
    left_out = {id(parameter) for parameter in head.parameters()} if head else set()
    owners = [
        (block_of(name), parameter)
        for name, module in model.named_modules()
        for parameter in module.parameters(recurse=False)
        if id(parameter) not in left_out
    ]
    distinct = list({id(parameter): (block, parameter) for block, parameter in reversed(owners)}.values())[::-1]
    runs = [(block, [p for _, p in run]) for block, run in groupby(distinct, key=lambda each: each[0])]
    return [(f"{depth} {block}", parameters) for depth, (block, parameters) in enumerate(runs)]


def block_of(module_name: str) -> str:
    """The block a module belongs to, from its dotted name.

    >>> [block_of(name) for name in ("layer1.0.downsample.0", "features.3", "encoder.layers.encoder_layer_2.mlp.0", "")]
    ['layer1.0', 'features.3', 'encoder.layers.encoder_layer_2', 'own']
    """
    parts = module_name.split(".")
    parts = (parts[:-1] if len(parts) > 2 else parts)[:3]
    while len(parts) > 1 and not parts[-1][-1].isdigit() and any(part[-1].isdigit() for part in parts):
        parts.pop()
    return ".".join(parts) or "own"
