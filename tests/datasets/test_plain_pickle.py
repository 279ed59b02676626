"""Pickles of plain data are read in full, and nothing else in a pickle ever runs."""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from tasks.datasets.plain_pickle import PickledArray, read_plain_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def plain(value):
    if isinstance(value, PickledArray):
        return value.values.tolist()
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_containers_text_numbers_and_arrays(protocol):
    content = {
        "imlist": ["a", "caf\u00e9"],
        "gnd": [{"bbx": (1.5, -2, 3e9, True), "easy": [], "none": None, "bytes": b"\x00\xff"}],
        "array": np.array([3, 1, 2]),
        "empty": np.array([]),
        "short": np.array([[1, 2], [3, 4]], dtype=np.int16),
        "turned": np.asfortranarray([[1.5, 2.5], [3.5, 4.5]]),
        "other": np.array([1, 256], dtype=">u4"),
        "one": np.float32(0.5),
        "many": np.int64(2**40),
        "yes": np.array([True, False]),
    }
    data = pickle.dumps(content, protocol)
    assert plain(read_plain_pickle(data, "gnd.pkl")) == plain(
        {key: value.tolist() if hasattr(value, "tolist") else value for key, value in content.items()}
    )


class Payload:
    """Unpickling it creates the marker file."""

    def __init__(self, marker: Path, how: str) -> None:
        self.marker, self.how = marker, how

    def __reduce__(self):
        return {
            "method": (Path.touch, (self.marker,)),
            "eval": (eval, (f"open({str(self.marker)!r}, 'w')",)),
            "getattr": (getattr, (self.marker, "touch")),
        }[self.how]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("how", ["method", "eval", "getattr"])
def test_a_payload_never_runs(how, protocol, tmp_path):
    marker = tmp_path / "marker"
    data = pickle.dumps({"imlist": [Payload(marker, how)]}, protocol)
    with pytest.raises(
        ValueError, match=r"gnd\.pkl asks for .*; only plain data is read, and nothing is run"
    ) as caught:
        read_plain_pickle(data, "gnd.pkl")
    assert not marker.exists()
    assert "\n" not in str(caught.value)
    pickle.loads(data) if how == "eval" else None
    assert marker.exists() == (how == "eval"), "the payload is live"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (OrderedDict(a=1), "asks for collections.OrderedDict"),
        (np.array([{}], dtype=object), "holds an array of 'O8'"),
        (np.array(["text"]), "holds an array of 'U4'"),
        (np.array([(1, 2)], dtype="i4,i4"), "holds an array of 'V8'"),
        (1 + 2j, "asks for (__builtin__|builtins).complex"),
    ],
)
def test_what_is_not_plain_is_named(value, message):
    for protocol in (2, 4):
        with pytest.raises(ValueError, match=message):
            read_plain_pickle(pickle.dumps(value, protocol), "gnd.pkl")


def test_stand_ins_cannot_be_changed_by_what_they_read():
    """BUILD, the opcode that gives a state, on a stand-in itself and on what it made."""
    for made in (b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\nscalar\n", b"c_codecs\nencode\n"):
        data = made + b"(dS'numbers'\nI1\nsb."
        with pytest.raises(ValueError, match="is no readable pickle"):
            read_plain_pickle(data, "gnd.pkl")
    assert plain(read_plain_pickle(pickle.dumps(np.arange(3), 2), "gnd.pkl")) == [0, 1, 2]


def test_damaged_and_huge_ones_are_refused_in_one_line(monkeypatch):
    data = pickle.dumps({"imlist": ["a"] * 50, "array": np.arange(9)}, 4)
    for bad in (b"", b"<html>", data[:-20], data[:40] + b"\xff" + data[41:], b"\x80\x04]" + b"h\xff."):
        with pytest.raises(ValueError, match=r"gnd\.pkl is no readable pickle") as caught:
            read_plain_pickle(bad, "gnd.pkl")
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"asks for os\. system here\.py;"):
        read_plain_pickle(b"\x80\x04\x8c\x02os\x8c\x10\nsystem\n\nhere.py\x93.", "gnd.pkl")
    with pytest.raises(ValueError, match="points to something outside itself"):
        read_plain_pickle(b"Pelsewhere\n.", "gnd.pkl")
    monkeypatch.setattr("tasks.datasets.plain_pickle.MOST_BYTES", 10)
    with pytest.raises(ValueError, match="at most 10 are read"):
        read_plain_pickle(data, "gnd.pkl")
