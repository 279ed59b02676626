"""TorchScript files: architecture and weights in one, whose code runs when read; only on a person's word (--trust)."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from backbones.adapters.library import Library
from backbones.adapters.user_file import trunk_parameters, wrap
from backbones.places import Places

SOURCE = f"torch {torch.__version__} (TorchScript, run on trust)"


def read_whole(path: Path, places: Places) -> nn.Module:
    """The module in the file; the caller has made sure that it is trusted. Raises ``ValueError`` for another file."""
    try:
        module: nn.Module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    except OSError:
        raise
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{path}: not a TorchScript file: {' '.join(str(error).split())[:160]}") from None
    for parameter in module.parameters():  # handed out as plain tensors; this is how torch marks parameters
        parameter._is_param = True
    return module


def build(architecture: str, kwargs: dict[str, Any], places: Places) -> nn.Module:
    """There is none without its file."""
    raise ValueError(f"{architecture} is TorchScript: the file is the architecture, so it has no untrained twin")


def built_as(architecture: str, kwargs: dict[str, Any], places: Places) -> str:
    """The file's hash, which covers the code, is added by whoever read it."""
    return f"torchscript {architecture}"


LIBRARIES = {"torchscript": Library(SOURCE, build, wrap, trunk_parameters, built_as, read_whole)}
