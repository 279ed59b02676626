"""What a machine without a network will need, beyond what resolving a plan has opened, loaded and cached already."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from huggingface_hub import constants

from backbones.base import TextEncoder
from bob.plan import Cell
from bob.roster import Roster

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
"""What keeps the libraries below from asking the network whether something newer is there."""
SAID_HERE = ("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "TORCH_HOME", "XDG_CACHE_HOME")
"""What says where caches are: where it is set here, nodes need the same."""


def fetch_tokenizers(cells: Sequence[Cell], roster: Roster) -> list[str]:
    """Fetch what reads the texts that cells ask by, which loading a backbone does not need; a line a mistake."""
    asked = dict.fromkeys(cell.loaded_as for cell in cells if cell.question.task.texts and cell.refusal is None)
    mistakes = []
    for name in asked:
        backbone = roster.get(name)
        try:
            if isinstance(backbone, TextEncoder):
                backbone.overlong(["a photo"])
        except (ValueError, OSError, ImportError) as error:
            mistakes.append(f"backbone {name!r}: {error}")
    return mistakes


def found(cells: Sequence[Cell]) -> Iterator[str]:
    """A line a dataset and a backbone: what is here, by its identity."""
    sets = {each.manifest_sha256: each for cell in cells for several in cell.question.data.values() for each in several}
    for each in sets.values():
        yield f"dataset   {each.name}  {each.n_used:,} images  manifest {each.manifest_sha256[:16]}"
    for name, weights in {cell.backbone: cell.identity.weights_sha256 for cell in cells}.items():
        yield f"backbone  {name}  weights {weights[:16]}"


def needs(cells: Sequence[Cell], folders: Sequence[Path]) -> Iterator[str]:
    """What jobs on a machine without a network must be given: variables, and at the same paths these folders, those
    of the libraries' caches, and what the plan names by a whole path."""
    said = {name: os.environ[name] for name in SAID_HERE if name in os.environ}
    yield "jobs need  " + " ".join(f"{name}={value}" for name, value in (OFFLINE | said).items())
    hubs = [Path(constants.HF_HUB_CACHE), Path(torch.hub.get_dir())]
    names = [cell.loaded_as for cell in cells]
    names += [name for cell in cells for several in cell.question.names.values() for name in several]
    named = (Path(name.partition(":")[2].partition("#")[0]).expanduser() for name in dict.fromkeys(names))
    seen = [*folders, *(hub for hub in hubs if hub.exists()), *(path for path in named if path.is_absolute())]
    for folder in dict.fromkeys(folder.resolve() for folder in seen):
        yield f"nodes must see  {folder}"


def refused_offline(arguments: Sequence[str]) -> list[str]:
    """Run a ``bob`` command in a process that no network answers; what it says is wrong, a line each."""
    done = subprocess.run(
        [sys.executable, "-m", "bob.offline", *arguments],
        env={**os.environ, **OFFLINE},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return []
    told = done.stderr.strip().splitlines()
    lines = [line.removeprefix("error: ") for line in told if line.startswith("error: ")]
    return [f"without a network: {line}" for line in lines or told[-1:] or [f"exit code {done.returncode}"]]
