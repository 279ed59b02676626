"""A pipeline as diffusers saves it, a folder a part: found on disk or fetched from the hub, its parts read strictly."""

import json
import logging
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from torch import nn

from backbones.adapters.hub import no_long_wait
from backbones.places import Places

HUB_NAME = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
CONFIGS = ("*.json", "*/*.json", "tokenizer*/*.txt", "tokenizer*/*.model")
WEIGHTS = tuple(
    f"{part}/{stem}{shard}.safetensors"
    for part, stem in (
        ("vae", "diffusion_pytorch_model"),
        ("unet", "diffusion_pytorch_model"),
        ("transformer", "diffusion_pytorch_model"),
        ("text_encoder*", "model"),
    )
    for shard in ("", "-*-of-*")
)
"""What is fetched: never a pickle, a script, or the same weights a second time in half precision."""

TINY = Path(__file__).parent / "tiny"
"""The smallest pipelines of a kind, as configs alone: there are no weights, only twins."""

SHOWN = 3


@dataclass(frozen=True)
class PipelineFolder:
    """Where the parts of a pipeline lie; ``revision`` is the hub's commit where it came from there."""

    reference: str
    path: Path
    revision: str

    def config(self, part: str) -> dict[str, Any]:
        """What a part's own file says of it, the pipeline's for the part ``""``.

        Raises ``FileNotFoundError`` in one line where the pipeline has no such part, ``ValueError`` for a damaged file.
        """
        file = self._config_file(part)
        if not file.is_file():
            raise FileNotFoundError(
                f"diffusers:{self.reference}: no {file.relative_to(self.path)} in {self.path}; a pipeline's folder has "
                f"vae, unet or transformer, scheduler and its text encoders. {self._again()}"
            )
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            raise ValueError(f"diffusers:{self.reference}: {file} is damaged (no JSON). {self._again()}") from None
        if not isinstance(content, dict):
            raise ValueError(f"diffusers:{self.reference}: {file} must hold a mapping")
        return content

    def has(self, part: str) -> bool:
        """Whether the pipeline has this part."""
        return self._config_file(part).is_file()

    def read(self, kind: Any, part: str) -> nn.Module:
        """A part with its weights, in float32: from safetensors alone, every weight of the file and of the part used.

        ``kind`` is a class of diffusers or transformers. Raises ``OSError`` or ``ValueError`` in one line.
        """
        self.config(part)
        diffusers = kind.__module__.startswith("diffusers.")
        precision = (
            {"torch_dtype": torch.float32, "low_cpu_mem_usage": False} if diffusers else {"dtype": torch.float32}
        )
        with self._in_one_line(part):
            module, report = kind.from_pretrained(
                self.path / part, use_safetensors=True, local_files_only=True, output_loading_info=True, **precision
            )
        self._refuse(part, "missing from", report["missing_keys"])
        self._refuse(part, "without a place in", report["unexpected_keys"])
        read: nn.Module = module.eval()
        return read

    def build(self, kind: Any, part: str) -> nn.Module:
        """The same part as its library initialises it; needs no weights."""
        self.config(part)
        with self._in_one_line(part):
            built: nn.Module = kind.from_config(kind.load_config(self.path / part)).eval()
        return built

    def call(self, part: str, make: Callable[[Path], Any]) -> Any:
        """What ``make`` reads from a part's folder (a tokenizer), its errors in one line."""
        with self._in_one_line(part):
            return make(self.path / part)

    def _config_file(self, part: str) -> Path:
        if not part:
            return self.path / "model_index.json"
        return self.path / part / ("scheduler_config.json" if part == "scheduler" else "config.json")

    def _refuse(self, part: str, what: str, keys: Collection[str]) -> None:
        if keys:
            shown = ", ".join(sorted(keys)[:SHOWN]) + (f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else "")
            raise ValueError(
                f"diffusers:{self.reference}: the weights of {part} do not fit its config: {len(keys)} {what} "
                f"the {'file' if what.startswith('missing') else 'architecture'}: {shown}"
            )

    @contextmanager
    def _in_one_line(self, part: str) -> Iterator[None]:
        library = logging.getLogger("diffusers")
        before = library.level
        library.setLevel(logging.ERROR)  # it also warns of every weight that does not fit: said below, once
        try:
            yield
        except Exception as error:  # libraries raise a dozen types for a damaged folder; each means the same here
            kind = OSError if isinstance(error, OSError) else ValueError
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise kind(
                f"diffusers:{self.reference}: cannot read {self.path / part} as safetensors and JSON: {reason}. "
                f"{self._again()}"
            ) from None
        finally:
            library.setLevel(before)

    def _again(self) -> str:
        if self.revision == "unknown":
            return "Save it whole with diffusers' save_pretrained(safe_serialization=True)"
        repository = self.reference.partition("@")[0]
        return (
            f"Where the cache is damaged, delete {self.path} and fetch it again (`hf download {repository} --revision "
            f"{self.revision}`); a repository without .safetensors must be converted first: pickles are not read"
        )


def find_pipeline(reference: str, places: Places, weights: bool = True) -> PipelineFolder:
    """A folder of that name, else the hub's repository ``OWNER/NAME[@REVISION]``; ``weights=False``: configs alone.

    Raises ``ValueError`` for what can be neither, ``FileNotFoundError`` and ``OSError`` where it cannot be had.
    """
    try:
        found = places if weights else replace(places, roots=(*places.roots, TINY))
        path = found.find(reference, "pipeline folder")
    except FileNotFoundError:
        path = None
    if path is not None and path.is_dir():
        return PipelineFolder(reference, path, "unknown")
    if path is not None:
        raise ValueError(
            f"diffusers:{reference}: {path} is a file; name the folder of a pipeline (with vae, unet, ...)"
        )
    named = HUB_NAME.fullmatch(reference)
    if named is None:
        raise FileNotFoundError(
            f"diffusers:{reference}: no such folder below {', '.join(map(str, places.roots))}, and no name of a hub "
            "repository (OWNER/NAME or OWNER/NAME@REVISION)"
        )
    path = _fetch(named["repository"], named["revision"], CONFIGS + (WEIGHTS if weights else ()))
    return PipelineFolder(reference, path, path.name)


def _fetch(repository: str, revision: str | None, patterns: Sequence[str]) -> Path:
    try:
        with no_long_wait():
            return Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as error:
        raise OSError(_cannot_fetch(repository, revision, error)) from None


def _cannot_fetch(repository: str, revision: str | None, error: Exception) -> str:
    address = f"{huggingface_hub.constants.ENDPOINT}/{repository}"
    name = f"diffusers:{repository}" + (f"@{revision}" if revision else "")
    if isinstance(error, huggingface_hub.errors.GatedRepoError):
        return f"{name} is gated: accept its licence at {address}, then `hf auth login` on this machine"
    if isinstance(error, huggingface_hub.errors.RevisionNotFoundError):
        return f"{name}: no such revision; see {address}/commits/main, or leave @{revision} out"
    if isinstance(error, huggingface_hub.errors.RepositoryNotFoundError):
        return f"{name}: no such repository at {address}; if it is private, `hf auth login` on this machine"
    option = f" --revision {revision}" if revision else ""
    return (
        f"cannot fetch {name} ({type(error).__name__}). On a machine with a network `hf download {repository}{option}` "
        f"puts it into its cache, to be copied to {huggingface_hub.constants.HF_HUB_CACHE}; "
        "or name a folder saved by diffusers (diffusers:FOLDER)"
    )
