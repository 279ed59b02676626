"""Building a transformers model from a repository: strictly loaded, and without the parts no feature needs."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pickle import UnpicklingError
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import nn

from backbones.adapters.huggingface.files import Repository
from backbones.adapters.huggingface.kinds import KINDS, Kind, Pooled
from backbones.adapters.huggingface.tower import layers as tower_layers


def trained(repository: Repository) -> tuple[nn.Module, Kind]:
    """The model with the repository's weights. Raises ``ValueError`` listing whatever does not fit."""
    kind, library = repository.kind, _class_of(repository)
    config = _configuration(repository, library)
    with _quiet():
        try:
            model, information = library.from_pretrained(
                str(repository.folder),
                config=config,
                dtype=torch.float32,
                use_safetensors=repository.safetensors,
                weights_only=True,
                local_files_only=True,
                output_loading_info=True,
                attn_implementation=_attention(library, config),
            )
        except UnpicklingError:
            raise ValueError(f"{repository.name}: its pickle cannot be read: it holds more than tensors") from None
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:
            raise ValueError(
                f"{repository.name}: its weights cannot be read ({' '.join(str(error).split())[:200]}); "
                f"if {repository.folder} is a download, delete it and fetch it again"
            ) from None
    absent = _check(repository, model, information)
    return _trimmed(repository, model, kind, absent)


def untrained(repository: Repository) -> tuple[nn.Module, Kind]:
    """The same model, weights as the library initialises them from torch's generator."""
    library = _class_of(repository)
    config = _configuration(repository, library)
    with _quiet():
        model = library._from_config(config, dtype=torch.float32, attn_implementation=_attention(library, config))
    kind = repository.kind
    absent = () if repository.architecture in (kind.model, kind.classifier) else kind.optional
    return _trimmed(repository, model, kind, absent)


def tower_path(model: nn.Module, kind: Kind) -> str:
    """Where the image tower is in a model built here."""
    if kind.classifier == type(model).__name__:
        return str(model.base_model_prefix)
    return "" if kind.alone else kind.tower


def layers(model: nn.Module, kind: Kind) -> list[tuple[str, list[nn.Parameter]]]:
    """One group a block of the image tower, then the projection."""
    groups = tower_layers(model.get_submodule(tower_path(model, kind)), kind)
    if kind.projection:
        parameters = list(model.get_submodule(kind.projection).parameters())
        groups.append((f"{len(groups)} {kind.projection}", parameters))
    return groups


def _class_of(repository: Repository) -> Any:
    kind = repository.kind
    return getattr(transformers, kind.classifier if repository.architecture == kind.classifier else kind.model)


def _configuration(repository: Repository, library: Any) -> Any:
    try:
        config = library.config_class.from_pretrained(str(repository.folder), local_files_only=True)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"{repository.name}: config.json does not describe a {library.__name__}: {error}") from None
    if repository.kind.inputs == "unshuffled":
        config.mask_ratio = 0.0
    return config


def _attention(library: Any, config: Any) -> str:
    """Stated, so that a configuration cannot name code on the hub as its attention."""
    nested = getattr(config, "backbone_config", None)  # its trunk, which may not know the faster one, is built anew
    return "sdpa" if library._supports_sdpa and nested is None else "eager"


def _check(repository: Repository, model: nn.Module, information: Any) -> tuple[str, ...]:
    """Refuse what is missing or left over undeclared; give the optional parts that the checkpoint does not have."""
    kind = repository.kind
    prefix = f"{tower}." if (tower := tower_path(model, kind)) else ""
    missing = [key.removeprefix(prefix) for key in information["missing_keys"]]
    absent = tuple(part for part in kind.optional if any(_inside(key, part) for key in missing))
    fine = (*kind.unused, *absent)
    problems = [
        *_listed("missing", [key for key in missing if not any(_inside(key, part) for part in fine)]),
        *_listed("unexpected", [key for key in information["unexpected_keys"] if not _declared(key, model, kind)]),
        *_listed("of another shape", [str(key[0]) for key in information["mismatched_keys"]]),
    ]
    if problems:
        raise ValueError(f"{repository.name}: the weights do not fit {type(model).__name__}: {'; '.join(problems)}")
    return absent


def _declared(key: str, model: nn.Module, kind: Kind) -> bool:
    heads = (*kind.other_heads, *(("classifier.*",) if kind.classifier else ()), *(f"{part}*" for part in kind.unused))
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    return any(fnmatchcase(key.removeprefix(prefix), pattern) for pattern in heads)


def _inside(key: str, part: str) -> bool:
    return key == part or key.startswith(f"{part}.")


def _listed(what: str, keys: Sequence[str], shown: int = 3) -> Iterable[str]:
    if keys:
        more = f" and {len(keys) - shown} more" if len(keys) > shown else ""
        yield f"{len(keys)} {what}: {', '.join(sorted(keys)[:shown])}{more}"


def _trimmed(repository: Repository, model: nn.Module, kind: Kind, absent: Sequence[str]) -> tuple[nn.Module, Kind]:
    """Take out what takes no part in features, so that it is neither identity nor depth; let the rest learn."""
    if kind.alone:
        model, kind = _tower_alone(repository, model, kind)
    if kind.text and not repository.has_tokenizer:
        absent, kind = (*absent, "text_model", "text_projection", "logit_scale", "logit_bias"), replace(kind, text="")
        for part in absent[-4:]:
            _take_out(model, part)
    tower = model.get_submodule(tower_path(model, kind))
    for part in (*kind.unused, *absent):
        _take_out(tower, part)
    model.requires_grad_(True)
    return model.eval(), kind


def _take_out(module: nn.Module, path: str) -> None:
    """The library asks whether an optional part is None before it uses it."""
    parent, _, name = path.rpartition(".")
    owner = module.get_submodule(parent)
    if getattr(owner, name, None) is not None:
        setattr(owner, name, None)


def _tower_alone(repository: Repository, model: nn.Module, kind: Kind) -> tuple[nn.Module, Kind]:
    backbone: Any = getattr(model, "backbone", None)
    if backbone is None:
        return model.get_submodule(kind.tower), kind
    name, inner = type(backbone).__name__, KINDS.get(backbone.config.model_type)
    if inner is None or not (inner.layout == "stages" or inner.method in ("DINOv2", "BEiT")):
        raise ValueError(f"{repository.name}: BoB does not know {name} as the trunk of a depth model")
    named = getattr(backbone, inner.model.removesuffix("Model").lower(), backbone)
    twin = getattr(transformers, inner.model)._from_config(
        backbone.config, attn_implementation=_attention(type(named), None)
    )
    own, given = twin.state_dict(), named.state_dict()
    for part in {name.split(".")[0] for name in own.keys() - given.keys()}:
        setattr(twin, part, None if part == "pooler" else nn.Identity())
    twin.load_state_dict(given)
    pooled: Pooled = "pooler" if inner.layout == "stages" else "mean"
    stated = {"family": kind.family, "method": kind.method, "data": kind.data}
    return twin, replace(inner, pooled=pooled, alone=True, classifier="", **stated)  # type: ignore[arg-type]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The library's report of loaded keys is ours to judge, and its progress bar nobody's to read."""
    logging: Any = transformers.utils.logging
    before, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()
