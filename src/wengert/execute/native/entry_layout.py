"""Where CPython and NumPy keep what a compiled call looks at, found by looking; and their functions' addresses.

Offsets are those of CPython's 64-bit builds with a global lock. Each is tried on a specimen before it is used, so that
another layout means that calls go through Python, not that they go wrong.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import sysconfig
import weakref
from functools import cache
from typing import Any

import numpy as np
from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

from wengert.errors import UnsupportedError
from wengert.ir.types import DTYPES

HEADER = object.__basicsize__  # what an object's own fields follow
TYPE = HEADER - 8
SIZE = HEADER  # the length of a list or tuple
LIST_ITEMS = HEADER + 8  # a pointer to them
TUPLE_ITEMS = tuple.__basicsize__  # themselves
NUMBER = HEADER  # the value of a float, a complex number, and of NumPy's numbers
NDARRAY = {name: HEADER + at for name, at in (("data", 0), ("ndim", 8), ("shape", 16), ("dtype", 40), ("flags", 48))}
PLAIN = 0x0001 | 0x0100  # the flags of an array that is C-contiguous and aligned
OWN = 0x0004 | 0x0400  # of one that owns its memory and may be written
_NEW_FROM_DESCR, _NEW_COPY = 94, 85  # places in NumPy's table of functions

# functions by name, and how many words each takes
FUNCTIONS = {
    "Py_IncRef": 1, "Py_DecRef": 1, "PyErr_Clear": 0, "PyErr_NoMemory": 0, "PyMem_RawMalloc": 1, "PyMem_RawFree": 1,
    "PyType_GenericAlloc": 2, "PyObject_Vectorcall": 4, "PyObject_GenericGetDict": 2, "PyObject_GenericSetAttr": 3,
    "PyDict_Size": 1, "PyDict_Next": 4, "PyDict_New": 0, "PyDict_SetItem": 3, "PyList_New": 1, "PyTuple_New": 1,
    "PyList_Append": 2,
    "PyObject_RichCompareBool": 3, "PyLong_AsLongLongAndOverflow": 2, "PyEval_SaveThread": 0, "PyEval_RestoreThread": 1,
    "PyGC_Disable": 0, "PyGC_Enable": 0,
}  # fmt: skip
NARROW = frozenset(
    (
        "PyObject_RichCompareBool",
        "PyDict_Next",
        "PyDict_SetItem",
        "PyObject_GenericSetAttr",
        "PyGC_Disable",
        "PyList_Append",
    )
)  # return an int


def word(address: int) -> int:
    return ctypes.c_int64.from_address(address).value


def _narrow(address: int) -> int:
    return ctypes.c_int32.from_address(address).value


@cache
def addresses() -> dict[str, int]:
    """The functions of CPython and NumPy that a compiled call needs. Raises UnsupportedError where it can't be made."""
    try:
        _look()
        found = {n: ctypes.cast(getattr(ctypes.pythonapi, n), ctypes.c_void_p).value or 0 for n in FUNCTIONS}
        return {**found, "NewFromDescr": _new_from_descr(), "NewCopy": _new_copy()}
    except (AssertionError, AttributeError) as error:
        raise UnsupportedError(f"calls go through Python here: {error}") from error


def _look() -> None:
    assert platform.python_implementation() == "CPython" and struct.calcsize("P") == 8, "another Python"
    assert not sysconfig.get_config_var("Py_GIL_DISABLED"), "no global lock"
    a, items = np.zeros((3, 5), np.float32), [object(), object(), object()]
    pair = (*items,)
    for x in (a, items, pair, 1.5):
        assert word(id(x) + TYPE) == id(type(x)), "another object header"
    first = word(id(items) + LIST_ITEMS)
    assert word(id(items) + SIZE) == word(id(pair) + SIZE) == 3, "another length of sequences"
    assert [word(first + 8 * i) for i in range(3)] == [*map(id, items)], "other lists"
    assert [word(id(pair) + TUPLE_ITEMS + 8 * i) for i in range(3)] == [*map(id, items)], "other tuples"
    assert ctypes.c_double.from_address(id(x := float("1.25")) + NUMBER).value == x, "other floats"
    z = complex(1.25, -0.5)
    assert ctypes.string_at(id(z) + NUMBER, 16) == struct.pack("dd", z.real, z.imag), "other complex numbers"
    at = {name: id(a) + offset for name, offset in NDARRAY.items()}
    assert word(at["data"]) == a.ctypes.data and word(at["dtype"]) == id(a.dtype), "other arrays"
    assert _narrow(at["ndim"]) == 2 and [word(word(at["shape"]) + 8 * i) for i in (0, 1)] == [3, 5], "other shapes"
    flags = [_narrow(id(v) + NDARRAY["flags"]) & PLAIN for v in (a, a.T, np.zeros(9, np.uint8)[1:].view(np.float64))]
    assert flags == [PLAIN, 0x0100, 0x0001], "other flags of arrays"
    view, fixed = a[:], np.zeros(3)
    fixed.flags.writeable = False
    owns = [_narrow(id(v) + NDARRAY["flags"]) & OWN for v in (a, view, fixed)]
    assert owns == [OWN, 0x0400, 0x0004], "other flags of memory"
    count = word(id(fixed))
    again = fixed
    assert word(id(again)) == count + 1, "other counts of references"


def _numpy_function(number: int) -> int:
    capsule = ctypes.pythonapi.PyCapsule_GetPointer
    capsule.restype, capsule.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return word(capsule(_multiarray_umath._ARRAY_API, None) + 8 * number)


def _new_copy() -> int:
    """`NewCopy(array, 0)`: a copy in row-major order."""
    address = _numpy_function(_NEW_COPY)
    a = np.arange(6.0).reshape(2, 3).T
    b = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.c_int)(address)(a, 0)
    assert b.base is None and b.flags.c_contiguous and b.tolist() == a.tolist(), "another way to copy arrays"
    return address


def _new_from_descr() -> int:
    """`NewFromDescr(class, dtype, ndim, shape, strides, data, flags, object)`: an array, here of new memory."""
    address = _numpy_function(_NEW_FROM_DESCR)
    kinds: tuple[Any, ...] = (
        ctypes.py_object,
        ctypes.py_object,
        ctypes.c_int,
        *[ctypes.c_void_p] * 3,
        ctypes.c_int,
        ctypes.c_void_p,
    )
    new = ctypes.PYFUNCTYPE(ctypes.py_object, *kinds)(address)
    dtype, shape = np.dtype(np.float32), (ctypes.c_int64 * 2)(3, 5)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(dtype))  # the function takes a reference over
    a = new(np.ndarray, dtype, 2, shape, None, None, 0, None)
    assert type(a) is np.ndarray and a.shape == (3, 5) and a.dtype is dtype, "another way to make arrays"
    return address


def slot(cls: type, name: str) -> int:
    """The offset of a slot in instances of `cls`."""
    specimen: Any = object.__new__(cls)
    mark = object()
    setattr(specimen, name, mark)
    for offset in range(HEADER, cls.__basicsize__, 8):
        if word(id(specimen) + offset) == id(mark):
            return offset
    raise UnsupportedError(f"calls go through Python here: no slot {name} found in {cls.__name__}")


def weak_slot(cls: type) -> int:
    """The offset at which instances of `cls` keep their weak references: 0 there as long as there are none."""
    specimen: Any = object.__new__(cls)
    offset = cls.__weakrefoffset__  # in front of the object, from Python 3.12 on
    before = word(id(specimen) + offset)
    reference = weakref.ref(specimen)
    if reference() is specimen and before == 0 and word(id(specimen) + offset) != 0:
        return offset
    raise UnsupportedError(f"calls go through Python here: no weak references found in {cls.__name__}")


@cache
def numbers() -> dict[np.dtype, type]:
    """The types of NumPy's numbers that hold their value right behind the header, by element type."""
    specimens = [np.dtype(d).type(True if d.kind == "b" else 3) for d in DTYPES]
    return {
        s.dtype: type(s)
        for s in specimens
        if ctypes.string_at(id(s) + NUMBER, s.dtype.itemsize) == s.tobytes() and not np.ndim(s)
    }


def standard(dtype: np.dtype) -> np.dtype:
    """The one object that NumPy's own arrays of this type carry."""
    return np.empty(0, dtype.type).dtype
