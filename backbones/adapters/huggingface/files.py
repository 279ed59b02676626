"""A repository of the Hugging Face hub, or a folder in its format, brought here and looked at before it is loaded."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import transformers
import yaml
from huggingface_hub import errors

from backbones.adapters.hub import no_long_wait
from backbones.adapters.huggingface.kinds import Kind, kind_of
from backbones.places import Places

FILES = ("*.json", "*.txt", "*.model", "README.md", "model.safetensors", "model-*-of-*.safetensors")
PICKLES = ("pytorch_model.bin", "pytorch_model-*-of-*.bin")
WITHOUT_WEIGHTS = FILES[:4]
TINY = Path(__file__).parent / "tiny"
"""The smallest models of a kind, as configurations in the library's own format: there are no weights, only twins."""


@dataclass(frozen=True)
class Repository:
    """A folder on this machine with a configuration that one row of our table describes."""

    name: str
    folder: Path
    revision: str
    config: dict[str, Any]
    kind: Kind
    safetensors: bool

    @property
    def architecture(self) -> str:
        """The class the weights were saved from."""
        return next(iter(self.config.get("architectures") or []), self.kind.model)

    @property
    def front_matter(self) -> dict[str, Any]:
        """What the model card's header states (``license``, ``datasets``); empty where there is none."""
        path = self.folder / "README.md"
        found = re.match(r"---\n(.*?)\n---", path.read_text(encoding="utf-8"), re.S) if path.exists() else None
        try:
            stated = yaml.safe_load(found.group(1)) if found else {}
        except yaml.YAMLError:
            return {}
        return stated if isinstance(stated, dict) else {}

    @property
    def has_tokenizer(self) -> bool:
        """Whether prompts can be told from the folder."""
        return any((self.folder / name).exists() for name in ("tokenizer.json", "vocab.json", "spiece.model"))


def open_repository(reference: str, places: Places, weights: bool = True) -> Repository:
    """Find ``REPO[@REVISION]`` (a folder first, then the hub) and check that it is what we can load safely.

    Raises ``FileNotFoundError`` or ``OSError`` where it cannot be had, ``ValueError`` for one that is not for us.
    """
    folder, revision = _locate(reference, places, weights)
    config = _read_config(folder, reference)
    kind = kind_of(config, reference)
    named = next(iter(config.get("architectures") or []), kind.model)
    if "auto_map" in config and not hasattr(transformers, named):
        raise ValueError(
            f"{reference}: wants to run code of its own ({config['auto_map']}), which BoB never does; use a repository "
            "in the library's own format, or write its model in a file of yours (file:PATH.py:FACTORY)"
        )
    if "quantization_config" in config:
        raise ValueError(f"{reference}: its weights are quantised; use the repository of the plain weights")
    if config.get("is_hybrid"):
        raise ValueError(f"{reference}: a hybrid DPT (convolutions before its transformer), which BoB does not read")
    safetensors = any(folder.glob("model*.safetensors"))
    if weights and not safetensors:
        _refuse_pickles(reference, folder, places.trust)
    return Repository(f"huggingface:{reference}", folder, revision, config, kind, safetensors)


def processor_of(repository: Repository) -> Any:
    """The image processor, on PIL images where the library can. Raises ``ValueError`` where there is none."""
    if not any((repository.folder / name).exists() for name in ("preprocessor_config.json", "processor_config.json")):
        raise ValueError(
            f"{repository.name}: no preprocessor_config.json, so how its images are prepared is not known; "
            "save its image processor beside the model (processor.save_pretrained)"
        )
    try:
        return transformers.AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
            str(repository.folder), backend="pil", trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise ValueError(f"{repository.name}: its image processor cannot be read: {_one_line(error)}") from None


def tokenizer_of(repository: Repository) -> Any:
    """The tokenizer of its text tower. Raises ``ValueError`` where it cannot be read."""
    try:
        return transformers.AutoTokenizer.from_pretrained(
            str(repository.folder), trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(f"{repository.name}: its tokenizer cannot be read: {_one_line(error)}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _refuse_pickles(reference: str, folder: Path, trust: bool) -> None:
    pickles = [path.name for pattern in PICKLES for path in folder.glob(pattern)]
    if pickles and trust:
        return
    raise ValueError(
        f"{reference}: no model.safetensors"
        + (f", only {', '.join(pickles[:2])}" if pickles else "")
        + "; a pytorch_model.bin is a pickle, which could run code: where you trust its origin pass --trust "
        "(it is read as plain tensors only), or save the weights as safetensors (model.save_pretrained)"
    )


def _locate(reference: str, places: Places, weights: bool) -> tuple[Path, str]:
    for root in places.roots if weights else (*places.roots, TINY):
        if (folder := root / Path(reference).expanduser()).is_dir():
            return folder.resolve(), "local"
    name, _, revision = reference.partition("@")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or name.startswith("."):
        return places.find(reference, "folder of a Hugging Face model"), "local"
    patterns = [*FILES, *(PICKLES if places.trust else ())] if weights else list(WITHOUT_WEIGHTS)
    try:
        with no_long_wait():
            folder = Path(huggingface_hub.snapshot_download(name, revision=revision or None, allow_patterns=patterns))
    except (OSError, ValueError, errors.HfHubHTTPError) as error:
        raise OSError(f"huggingface:{reference}: {_advice(name, revision, error)}") from None
    return folder, folder.name


def _advice(name: str, revision: str, error: Exception) -> str:
    if isinstance(error, errors.GatedRepoError):
        return f"access is granted by its authors: accept their terms at https://hf.co/{name}, then `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"there is no revision {revision!r}; https://hf.co/{name}/commits/main lists them"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "no such repository (or a private one: `hf auth login`), and no folder of that name"
    at = f" --revision {revision}" if revision else ""
    return (
        f"cannot be fetched ({type(error).__name__}), and no folder of that name is here. On a machine with a network "
        f"`hf download {name}{at}` puts it into its cache, to be copied to {huggingface_hub.constants.HF_HUB_CACHE}"
    )


def _read_config(folder: Path, reference: str) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.exists():
        raise ValueError(f"{reference}: no config.json in {folder}; a model saved by save_pretrained has one")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error}); delete it and fetch it again") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path}: not a mapping; delete it and fetch it again")
    return config
