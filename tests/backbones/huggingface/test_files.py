"""Repositories and folders of ``huggingface:``: found, pinned, trusted or refused, each mistake said in one line."""

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from backbones.catalogue import load
from backbones.places import Places


def broken(folder: Path, tmp_path: Path, change: Callable[[Path], None]) -> str:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    change(tmp_path)
    return f"huggingface:{tmp_path}"


def configured(**settings: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))

    return change


def without(key: str, extra: str = "") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        state = load_file(folder / "model.safetensors")
        state = {name: tensor for name, tensor in state.items() if name != key or not key}
        save_file(state | ({extra: torch.zeros(2)} if extra else {}), folder / "model.safetensors", {"format": "pt"})

    return change


def only_pickle(folder: Path) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json in"),
        (lambda folder: (folder / "config.json").write_text("{"), "not valid JSON .*fetch it again"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "no preprocessor_config.json"),
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            "no model.safetensors; a pytorch_model.bin is a pickle",
        ),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 99), "cannot be read .*fetch it again"),
        (only_pickle, r"only pytorch_model.bin; .*pass --trust"),
        (without("layernorm.weight"), "1 missing: layernorm.weight"),
        (without("", "odd.weight"), "1 unexpected: odd.weight"),
        (configured(hidden_size=48), "(weights do not fit|cannot be read)"),
        (configured(model_type="dinov9"), r"did you mean 'dinov2'.*BoB knows: .*vit_mae"),
        (configured(model_type="dinov9", architectures=["Mine"], auto_map={"AutoModel": "mine.Mine"}), "dinov9"),
        (configured(architectures=["Mine"], auto_map={"AutoModel": "mine.Mine"}), "wants to run code of its own"),
        (configured(quantization_config={"quant_method": "bitsandbytes"}), "quantised"),
        (configured(model_type="dpt", is_hybrid=True), "hybrid"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    change: Callable[[Path], None], answer: str, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=answer) as caught:
        load(broken(folders("dinov2"), tmp_path, change))
    assert "\n" not in str(caught.value)


def test_code_of_a_repository_is_never_run(folders: Callable[[str], Path], tmp_path: Path) -> None:
    """A known type that also offers code of its own is loaded with the library's class, the code left alone."""

    def change(folder: Path) -> None:
        (folder / "mine.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
        configured(auto_map={"AutoModel": "mine.Mine", "AutoConfig": "mine.Mine"})(folder)

    backbone = load(broken(folders("dinov2"), tmp_path, change))
    assert backbone.card.weights_sha256 == load(f"huggingface:{folders('dinov2')}").card.weights_sha256
    assert not (tmp_path / "ran").exists()


def test_trusted_pickles_are_read_as_plain_tensors(folders: Callable[[str], Path], tmp_path: Path) -> None:
    name = broken(folders("dinov2"), tmp_path, only_pickle)
    trusted = load(name, Places(trust=True))
    assert trusted.card.weights_sha256 == load(f"huggingface:{folders('dinov2')}").card.weights_sha256
    torch.save({"layernorm.weight": Places()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="cannot be read"):
        load(name, Places(trust=True))


def test_model_card_states_licence_and_data(folders: Callable[[str], Path], tmp_path: Path) -> None:
    def change(folder: Path) -> None:
        (folder / "README.md").write_text("---\nlicense: apache-2.0\ndatasets:\n- imagenet-1k\n---\n# Tiny\n")

    card = load(broken(folders("dinov2"), tmp_path, change)).card
    assert (card.licence, card.pretraining_data) == ("apache-2.0", "imagenet-1k")


def test_a_path_that_is_not_there_says_where_it_looked() -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder of a Hugging Face model '\./nowhere'"):
        load("huggingface:./nowhere")


def test_a_repository_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_address(*_: object, **__: object) -> None:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("backbones.adapters.hub.getproxies", dict)
    with pytest.raises(OSError, match=r"`hf download some/model --revision v1` puts it into its cache") as caught:
        load("huggingface:some/model@v1")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        ("GatedRepoError", "accept their terms at https://hf.co/some/model, then `hf auth login`"),
        ("RevisionNotFoundError", "there is no revision 'v1'"),
        ("RepositoryNotFoundError", "no such repository"),
    ],
)
def test_the_hubs_refusals_say_what_to_do(error: str, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*_: object, **__: object) -> None:
        kind = getattr(huggingface_hub.errors, error)
        raise kind.__new__(kind)

    monkeypatch.setattr("backbones.adapters.hub.reachable", lambda address: True)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(OSError, match=answer):
        load("huggingface:some/model@v1")


def test_a_cached_repository_is_pinned_to_its_commit(
    folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The hub's cache as it lies on disk, without a network: the revision becomes the commit."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--some--model" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for file in folders("dinov2").iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    (tmp_path / "models--some--model" / "refs").mkdir()
    (tmp_path / "models--some--model" / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("backbones.adapters.hub.reachable", lambda address: False)
    backbone = load("huggingface:some/model")
    assert backbone.card.revision == commit
    assert backbone.card.name == "huggingface:some/model"
    assert load(f"huggingface:some/model@{commit}").card.weights_sha256 == backbone.card.weights_sha256


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("backbones.adapters.huggingface")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"uv sync --extra huggingface"):
        load("huggingface:some/model")
