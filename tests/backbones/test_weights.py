"""The identity of weights, reading them, loading them strictly."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from backbones.weights import drop_declared, load_strictly, read_weights, weights_sha256


def network() -> nn.Sequential:
    return nn.Sequential(OrderedDict(trunk=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), head=nn.Linear(4, 2)))


def test_identity_survives_every_file_format(tmp_path: Path) -> None:
    model = network()
    torch.save(model.state_dict(), tmp_path / "new.pth")
    torch.save(model.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(model.state_dict(), tmp_path / "new.safetensors")
    for name in ("new.pth", "old.pth", "new.safetensors"):
        twin = network()
        assert weights_sha256(twin) != weights_sha256(model)
        load_strictly(twin, read_weights(tmp_path / name))
        assert weights_sha256(twin) == weights_sha256(model)


def test_identity_ignores_memory_layout_and_order() -> None:
    model = network()
    before = weights_sha256(model)
    assert weights_sha256(model.to(memory_format=torch.channels_last)) == before  # type: ignore[call-overload]
    reordered = nn.Sequential(OrderedDict(head=model.head, norm=model.norm, trunk=model.trunk))
    assert weights_sha256(reordered) == before


def test_identity_sees_every_bit_name_type_buffer_and_architecture() -> None:
    model = network()
    seen = {weights_sha256(model)}
    with torch.no_grad():
        bits = model.trunk.weight.view(torch.int32)
        bits[0, 0, 0, 0] ^= 1
    seen.add(weights_sha256(model))
    model.norm.running_mean[0] += 1  # type: ignore[index]
    seen.add(weights_sha256(model))
    seen.add(weights_sha256(model, "another architecture"))
    seen.add(weights_sha256(nn.Sequential(OrderedDict(body=model.trunk, norm=model.norm, head=model.head))))
    seen.add(weights_sha256(model.half()))
    assert len(seen) == 6


def test_identity_of_bfloat16_scalars_and_empty_tensors() -> None:
    model = nn.Module()
    model.register_buffer("scalar", torch.tensor(1.0, dtype=torch.bfloat16))
    model.register_buffer("empty", torch.empty(0, 3))
    before = weights_sha256(model)
    model.scalar += 1  # type: ignore[operator]
    assert weights_sha256(model) != before


def test_wrapped_checkpoint_needs_its_key(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "model": network().state_dict()}, path := tmp_path / "wrapped.pth")
    with pytest.raises(ValueError, match=r"model \(.*[Dd]ict\).*key: state_dict"):
        read_weights(path)
    with pytest.raises(ValueError, match="no entry 'state_dict'; there are: epoch"):
        read_weights(path, "state_dict")
    assert "trunk.weight" in read_weights(path, "model")


def test_damaged_files_are_named_in_one_line(tmp_path: Path) -> None:
    torch.save(network().state_dict(), good := tmp_path / "good.pth")
    content = good.read_bytes()
    for name, damaged in {"half.pth": content[: len(content) // 2], "empty.pth": b"", "page.pth": b"<html>"}.items():
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=name) as caught:
            read_weights(tmp_path / name)
        assert "\n" not in str(caught.value)
    np.savez(tmp_path / "array.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="NumPy archive; save it as safetensors"):
        read_weights(tmp_path / "array.npz")


def test_every_undeclared_key_and_shape_is_reported_at_once() -> None:
    state = network().state_dict()
    state["extra.weight"] = torch.zeros(1)
    del state["head.bias"]
    state["trunk.weight"] = torch.zeros(4, 3, 5, 5)
    with pytest.raises(ValueError, match="do not fit") as caught:
        load_strictly(network(), state, unexpected=["decoder.*"])
    message = str(caught.value)
    assert "1 missing (in the architecture but not in the file): head.bias" in message
    assert 'write `unexpected: ["extra.*"]`' in message
    assert "trunk.weight is [4, 3, 5, 5], the architecture has [4, 3, 3, 3]" in message
    assert "'decoder.*' matches nothing" in message


def test_declared_keys_are_left_out() -> None:
    model, state = network(), network().state_dict()
    state["extra.weight"] = torch.zeros(1)
    load_strictly(model, state, unexpected=["extra.*"])
    assert torch.equal(model.trunk.weight, state["trunk.weight"])


def test_failed_loading_leaves_the_module_as_it_was() -> None:
    model, state = network(), network().state_dict()
    before = weights_sha256(model)
    del state["head.bias"]
    with pytest.raises(ValueError, match="1 missing"):
        load_strictly(model, state)
    assert weights_sha256(model) == before


def test_missing_modules_are_taken_out_whole_or_not_at_all() -> None:
    model = network()
    drop_declared(model, ["head.*", "norm.*"])
    assert isinstance(model.head, nn.Identity)
    assert list(model.state_dict()) == ["trunk.weight", "trunk.bias"]
    with pytest.raises(ValueError, match="would be random"):
        drop_declared(network(), ["head.bias"])
    with pytest.raises(ValueError, match=r"'haed\.\*' matches nothing"):
        drop_declared(network(), ["haed.*"])
