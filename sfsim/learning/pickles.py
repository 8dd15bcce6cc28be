"""Dictionaries of arrays out of pickles, without letting a pickle call anything.

A pickle is a program. This one is not run: its opcodes are read one by one, those that build plain values are carried
out here, the few names by which NumPy writes an array are recognised and never imported, and the array is made by us
from bytes whose number fits its shape. Everything else is refused by name.
"""

import io
import math
import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from sfsim.errors import DataError

MAX_BYTES = 1 << 30  # of a file
_RECONSTRUCT = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")}
_FROM_BUFFER = {("numpy.core.numeric", "_frombuffer"), ("numpy._core.numeric", "_frombuffer")}
_NAMES = {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")} | _RECONSTRUCT | _FROM_BUFFER
_PLAIN = {
    *(
        "BININT",
        "BININT1",
        "BININT2",
        "INT",
        "LONG",
        "LONG1",
        "NONE",
        "NEWTRUE",
        "NEWFALSE",
        "BINFLOAT",
        "FLOAT",
    ),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_MARK = object()


@dataclass(frozen=True)
class _Name:
    module: str
    name: str

    @property
    def both(self) -> tuple[str, str]:
        return self.module, self.name


@dataclass
class _Type:
    """An element type, as NumPy abbreviates it."""

    code: str


@dataclass
class _Array:
    """An array that a pickle describes; made by `_made` when all is known."""

    shape: Any = None
    kind: Any = None
    data: Any = None
    order: str = "C"


def read_pickle(path: Path) -> dict[str, Any]:
    """Read a pickled dictionary with text keys whose values are numbers, texts, lists of them or uint8 arrays.

    Raises
    ------
    DataError
        There is no such file, it is too large, or it holds anything else: the text names it.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise DataError(f"{path}: found {size:,} bytes, expected at most {MAX_BYTES:,}")
    try:
        found = _built(path.read_bytes())
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(f"{path}: not a pickle of arrays ({error})") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: found a {type(found).__name__}, expected a dictionary")
    return {_text(key): _made(value, f"{path}, {_text(key)!r}") for key, value in found.items()}


def _built(content: bytes) -> Any:
    """Carry out the opcodes that build values."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def above_mark() -> list[Any]:
        at = len(stack) - 1 - next(k for k, item in enumerate(reversed(stack)) if item is _MARK)
        items = stack[at + 1 :]
        del stack[at:]
        return items

    for opcode, operand, _ in pickletools.genops(io.BytesIO(content)):
        name, argument = opcode.name, cast(Any, operand)
        if name in _PLAIN:
            stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}.get(name, argument))
        elif name in ("PROTO", "FRAME"):
            pass
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("TUPLE", "LIST"):
            items = above_mark()
            stack.append(tuple(items) if name == "TUPLE" else items)
        elif name == "DICT":
            items = above_mark()
            stack.append(dict(zip(items[::2], items[1::2], strict=True)))
        elif name == "APPEND":
            _of(stack[-2], list).append(stack.pop())
        elif name == "APPENDS":
            items = above_mark()
            _of(stack[-1], list).extend(items)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _of(stack[-1], dict)[key] = value
        elif name == "SETITEMS":
            items = above_mark()
            _of(stack[-1], dict).update(zip(items[::2], items[1::2], strict=True))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "GLOBAL":
            stack.append(_name(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            what, module = stack.pop(), stack.pop()
            stack.append(_name(module, what))
        elif name == "REDUCE":
            arguments, what = stack.pop(), stack.pop()
            stack.append(_described(_of(what, _Name), _of(arguments, tuple)))
        elif name == "BUILD":
            state = stack.pop()
            _complete(stack[-1], _of(state, tuple))
        elif name == "STOP":
            return stack.pop()
        else:
            raise ValueError(f"opcode {name} is no part of one")
    raise ValueError("it ends early")


def _of(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"found a {type(value).__name__} where a {kind.__name__.strip('_')} belongs")
    return value


def _name(module: str, name: str) -> _Name:
    if (module, name) not in _NAMES:
        raise ValueError(f"{module}.{name} is no part of one")
    return _Name(module, name)


def _described(what: _Name, arguments: tuple[Any, ...]) -> Any:
    """Return what a call of one of the known names stands for."""
    if what.both in _RECONSTRUCT:
        return _Array()
    if what.both in _FROM_BUFFER:
        data, kind, shape, order = arguments
        return _Array(shape, kind, data, order)
    if what.both == ("numpy", "dtype"):
        return _Type(_text(arguments[0]))
    if what.both == ("_codecs", "encode") and arguments[1:] == ("latin1",):
        return _of(arguments[0], str).encode("latin-1")
    raise ValueError(f"{what.module}.{what.name} with {len(arguments)} arguments is no part of one")


def _complete(value: Any, state: tuple[Any, ...]) -> None:
    """Take the state that follows an array or an element type."""
    if isinstance(value, _Array):
        _, value.shape, value.kind, fortran, value.data = state
        value.order = "F" if fortran else "C"
    elif not isinstance(value, _Type):  # a type's state is its byte order, which one byte has not
        raise ValueError(f"a state for a {type(value).__name__} is no part of one")


def _made(value: Any, place: str) -> Any:
    """Make the array that was described, from bytes of the right number."""
    if not isinstance(value, _Array):
        return value
    kind = value.kind.code if isinstance(value.kind, _Type) else value.kind
    if kind not in ("u1", "|u1", "uint8"):
        names = {
            "f4": "float32",
            "f8": "float64",
            "i8": "int64",
            "i4": "int32",
            "i2": "int16",
            "u2": "uint16",
        }
        raise DataError(f"{place}: found {names.get(str(kind), kind)}, expected uint8")
    shape, data = value.shape, value.data
    if isinstance(data, str):  # Python 2's texts are bytes
        data = data.encode("latin-1")
    whole = isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)
    if not whole or not isinstance(data, bytes | bytearray) or len(data) != math.prod(shape):
        size = len(data) if isinstance(data, bytes | bytearray) else type(data).__name__
        raise DataError(f"{place}: found {size} bytes for an array of shape {shape}")
    order = "F" if value.order == "F" else "C"
    return np.frombuffer(bytes(data), np.uint8).reshape(shape, order=order)  # type: ignore[call-overload]


def _text(key: Any) -> str:
    return key.decode("latin-1") if isinstance(key, bytes) else str(key)
