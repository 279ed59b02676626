"""Weights: their identity, reading them from a file without running anything in it, and loading them strictly."""

import hashlib
import json
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

MAX_HEADER_BYTES = 10 * 2**20
"""Longest safetensors header accepted; ten thousand tensors need about 1 MiB."""


def weights_sha256(module: nn.Module, built_as: str = "") -> str:
    """The identity of what was loaded: every parameter and buffer by name, type, shape and bytes.

    ``built_as`` says what the same weights were put into (an architecture and its arguments, a source file's hash):
    one checkpoint in two architectures (other padding, other stride) is two backbones. Device, memory layout and the
    order of registration do not matter.
    """
    digest = hashlib.sha256(json.dumps(built_as).encode())
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(json.dumps([name, str(values.dtype), list(values.shape)]).encode())
        digest.update(memoryview(values.reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()


class NotPlainError(ValueError):
    """A file that holds more than tensors: reading it in full could run code."""


def read_weights(path: Path, key: str | None = None) -> dict[str, Tensor]:
    """Read a state dict from a safetensors file, or one saved by ``torch.save``; nothing in the file is executed.

    ``key`` is the entry that holds the state dict where a checkpoint wraps it (``{"state_dict": ..., "epoch": 9}``).
    Raises ``ValueError`` in one line for a file that is damaged, lies about its size, or holds more than tensors.
    """
    reader = _read_safetensors if path.suffix == ".safetensors" else _read_torch
    return _state_dict(reader(path), path, key)


def unpickle_weights(path: Path, key: str | None = None) -> dict[str, Tensor]:
    """The same of a pickle, **which runs whatever the file says**: only for a file a person said to trust."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=False)
    except OSError:
        raise
    except Exception as error:  # whatever the file ran may have raised it
        raise ValueError(f"{path}: cannot be read even on trust ({_one_line(error)}); is it whole?") from None
    return _state_dict(content, path, key)


def renamed(state: Mapping[str, Tensor], rules: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """The weights under other names: each rule (a regular expression, its replacement) is put to all, in order.

    Raises ``ValueError`` for a rule that changes nothing, and where two weights would end up with one name.

    >>> list(renamed({"module.fc.weight": torch.ones(1)}, [("^module[.]", "")]))
    ['fc.weight']
    """
    names = {name: name for name in state}
    for pattern, replacement in rules:
        try:
            after = {name: re.sub(pattern, replacement, now) for name, now in names.items()}
        except re.error as error:
            raise ValueError(f"the `rename` rule {pattern!r} -> {replacement!r}: {error}") from None
        if after == names:
            raise ValueError(f"the `rename` rule {pattern!r} changes no name; take it out of the card")
        names = after
    result: dict[str, Tensor] = {}
    for name, new in names.items():
        if new in result:
            raise ValueError(f"`rename` gives two weights the name {new!r}; one of them was {name!r}")
        result[new] = state[name]
    return result


def _state_dict(content: Any, path: Path, key: str | None) -> dict[str, Tensor]:
    if key is not None:
        if not isinstance(content, Mapping) or key not in content:
            raise ValueError(f"{path}: no entry {key!r}; there are: {_names(content)}")
        content = content[key]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(
            f"{path}: not a plain state dict (a name for each tensor); it holds: {_names(content)}. "
            "If one of these is the state dict, name it in the card, for instance `key: state_dict`"
        )
    return {str(name): tensor for name, tensor in content.items()}


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], unexpected: Sequence[str] = ()) -> None:
    """Load ``state`` so that nothing is left out by accident.

    ``unexpected`` declares, as patterns (``head.*``), weights of the file that have no place and are not read.
    Raises ``ValueError`` listing every undeclared key, every shape that differs and every pattern that matches nothing.
    """
    own = module.state_dict()
    absent = [name for name in own if name not in state]
    surplus = [name for name in state if name not in own]
    differ = [name for name in own if name in state and own[name].shape != state[name].shape]
    problems = [
        *_report(absent, "missing", "in the architecture but not in the file"),
        *_report([name for name in surplus if not _matches(name, unexpected)], "unexpected", "only in the file"),
        *(
            f"the declared `unexpected` pattern {pattern!r} matches nothing; take it out of the card"
            for pattern in unexpected
            if not any(fnmatchcase(name, pattern) for name in surplus)
        ),
    ]
    if differ:
        shown = [
            f"{name} is {list(state[name].shape)}, the architecture has {list(own[name].shape)}" for name in differ
        ]
        problems.append(f"{len(differ)} of another shape: {_first(shown)}; check `architecture` and `kwargs`")
    if problems:
        raise ValueError("the weights do not fit: " + "; ".join(problems))
    module.load_state_dict({name: state[name] for name in own})


def drop_declared(module: nn.Module, missing: Sequence[str]) -> None:
    """Take modules out whose weights a file is declared not to have (``head.*``): identity stands in their place.

    Nothing random may take part in an embedding. Raises ``ValueError`` where only part of a module would be missing,
    and for a pattern that matches nothing.
    """
    names = list(module.state_dict())
    for pattern in missing:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"the declared `missing` pattern {pattern!r} matches nothing; take it out of the card")
    for path in [path for path, _ in module.named_modules() if path]:
        inside = [name for name in names if name.startswith(f"{path}.")]
        if inside and all(_matches(name, missing) for name in inside):
            module.set_submodule(path, nn.Identity())
            names = [name for name in names if name not in inside]
    if left := [name for name in names if _matches(name, missing)]:
        raise ValueError(
            f"`missing` declares {_first(left)} but not the rest of its module, which would be random; "
            "declare the whole module, as in `missing: [head.*]`"
        )


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _report(names: list[str], kind: str, meaning: str) -> Iterable[str]:
    if names:
        hint = ", ".join(f'"{stem}.*"' for stem in dict.fromkeys(name.partition(".")[0] for name in names))
        yield f"{len(names)} {kind} ({meaning}): {_first(names)}; if meant, write `{kind}: [{hint}]` in the card"


def _first(items: Sequence[str], shown: int = 3) -> str:
    return ", ".join(items[:shown]) + (f" and {len(items) - shown} more" if len(items) > shown else "")


def _names(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    return _first([f"{name} ({type(value).__name__})" for name, value in content.items()], 8) or "nothing"


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    room = min(path.stat().st_size - 8, MAX_HEADER_BYTES)
    if not 0 < length <= room:
        raise ValueError(
            f"{path}: not a safetensors file: it claims a header of {length:,} bytes, at most {room:,} fit"
        )
    try:
        return load_file(path)
    except (SafetensorError, RuntimeError, ValueError, OverflowError, TypeError) as error:
        raise ValueError(f"{path}: not a valid safetensors file: {_one_line(error)}") from None


def _read_torch(path: Path) -> Any:
    _refuse_packed(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch raises a dozen types for a damaged file; each means the same to the reader
        raise NotPlainError(
            f"{path}: not a file of plain tensors ({_one_line(error)}). Reading it in full could run code: refused; "
            "where you trust its origin, save only the state dict (torch.save(model.state_dict(), ...) or safetensors) "
            "or read it with --trust, which is recorded"
        ) from None


def _refuse_packed(path: Path) -> None:
    """``torch.save`` stores its members uncompressed: packed ones, or NumPy's, are no checkpoint but may be a bomb."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(member.filename.endswith(".npy") for member in members):
        raise ValueError(f"{path}: a NumPy archive; save it as safetensors (safetensors.numpy.save_file)")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError(
            f"{path}: has compressed members, so torch.save did not write it; save it again as safetensors"
        )


def _one_line(error: Exception) -> str:
    """The first sentence that says something: torch's own advice (``weights_only=False``) is what not to do."""
    text = " ".join(str(error).split())
    _, found, reason = text.partition("WeightsUnpickler error: ")
    return (reason if found else text or type(error).__name__)[:160]
