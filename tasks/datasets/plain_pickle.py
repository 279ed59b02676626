"""Pickles of plain data read without running anything: containers, text, numbers, and arrays of numbers.

A pickle is a program, and what it may call is decided here: nothing but stand-ins for the few names by which NumPy
writes arrays, numbers and their bytes. Every other name is refused before it is looked up.
"""

import io
import pickle
from typing import Any

import numpy as np

MOST_BYTES = 64 * 2**20
"""Ground truth of a few thousand images takes less than one; a larger file is refused."""
NUMBERS = frozenset("?bBhHiIlLqQfd") | {f"{kind}{size}" for kind in "biuf" for size in (1, 2, 4, 8)}


class PickledArray:
    """An array of numbers; ``values`` are NumPy's. Type and shape it is begun with are of an empty one."""

    values = np.zeros(0)

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, raw = state
        self.values = kind.numbers(raw).reshape(shape, order="F" if is_fortran else "C")


def read_plain_pickle(data: bytes, name: str) -> Any:
    """What the pickle holds, arrays as :class:`PickledArray`.

    Raises ``ValueError`` in one line, beginning with ``name``, for what is damaged or holds more than plain data.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"{name} has {len(data)} bytes; at most {MOST_BYTES} are read of a pickle")
    try:
        return _PlainUnpickler(io.BytesIO(data)).load()
    except _Refused as error:
        raise ValueError(f"{name} {error}; only plain data is read, and nothing is run") from None
    except Exception as error:  # a damaged pickle raises whatever its opcodes stumble over
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"{name} is no readable pickle ({type(error).__name__}: {why})") from None


class _Refused(Exception):  # noqa: N818 - it says what became of the pickle
    """It holds more than plain data."""


class _StandIn:
    """Classes, and with a ``__setstate__``: so the pickle can change nothing of what stands in."""

    def __setstate__(self, state: Any) -> None:
        raise _Refused(f"gives a state to {type(self).__name__.lstrip('_').lower()}")


class _Type(_StandIn):
    """``numpy.dtype``: a name, checked to be that of a number, and the order of its bytes."""

    def __init__(self, code: str, *_: object) -> None:
        if code not in NUMBERS:
            raise _Refused(f"holds an array of {code!r:.40}")
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        self.order = ">" if state[1] == ">" else "<"  # single bytes, which have none, say "|"

    def numbers(self, raw: bytes | bytearray) -> np.ndarray:
        return np.frombuffer(raw, f"{self.order}{self.code}")


class _Buffer(_StandIn):
    """An array at once, as protocol 5 has it."""

    def __new__(cls, raw: bytes | bytearray, kind: _Type, shape: tuple[int, ...], order: str) -> Any:
        array = PickledArray()
        array.__setstate__((1, shape, kind, order == "F", raw))
        return array


class _Number(_StandIn):
    """A NumPy number, as Python's."""

    def __new__(cls, kind: _Type, raw: bytes) -> Any:
        return kind.numbers(raw)[0].item()


class _Bytes(_StandIn):
    """Bytes as the older protocols write them: empty ones, or text of as many characters."""

    def __new__(cls, text: str = "", encoding: str = "latin1") -> Any:
        return text.encode("latin1") if encoding == "latin1" else None


_STANDINS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): "the type an array is begun with",
    ("numpy.core.multiarray", "_reconstruct"): PickledArray,
    ("numpy._core.multiarray", "_reconstruct"): PickledArray,
    ("numpy.core.multiarray", "scalar"): _Number,
    ("numpy._core.multiarray", "scalar"): _Number,
    ("numpy.core.numeric", "_frombuffer"): _Buffer,
    ("numpy._core.numeric", "_frombuffer"): _Buffer,
    ("_codecs", "encode"): _Bytes,
    ("__builtin__", "bytes"): _Bytes,
    ("builtins", "bytes"): _Bytes,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STANDINS:
            raise _Refused(f"asks for {' '.join(f'{module}.{name}'.split())[:200]}")
        return _STANDINS[module, name]

    def persistent_load(self, pid: object) -> Any:
        raise _Refused("points to something outside itself")
