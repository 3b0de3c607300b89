"""The code that makes a call's results: arrays to be filled, then lists, tuples and objects' attributes out of them."""

from __future__ import annotations

from llvmlite import ir

from wengert.execute.native import entry_layout as at
from wengert.execute.native.entry_record import (
    ALONE,
    ASSIGN,
    DELETE,
    MAKE_CALL,
    MAKE_DICT,
    MAKE_LIST,
    MAKE_TUPLE,
    PUSH_OBJECT,
    PUSH_OUTPUT,
    PUSH_STATIC,
    REPLACED,
    RETURN,
    SPEC_WORDS,
    field,
)
from wengert.execute.native.entry_words import WORD, Words


def emit_taken(module: ir.Module, slots: dict[str, int]) -> ir.Function:
    """`taken(giver, class, mode) -> the ndarray in an argument that nobody else sees`, which may be written, or 0.

    Its Array belongs to the caller of the function, who gives it up, or to a module: then nobody else may hold it.
    """
    w = Words(module, "taken", 3)
    giver, kind, mode = w.args
    kept = w.returns(0)
    w.leave_if(w.is_(giver, 0), kept)
    w.leave_if(w.differ(w.load(giver, at.TYPE), kind), kept)
    data = w.load(giver, slots["data"])
    w.leave_if(w.differ(w.load(data, at.TYPE), w.known("ndarray")), kept)
    w.leave_if(w.differ(w.load(data), 2), kept)  # references: its Array's, and this call's
    w.leave_if(w.differ(w.b.and_(w.load32(data, at.NDARRAY["flags"]), WORD(at.OWN)), at.OWN), kept)
    with w.b.if_then(w.is_(mode, REPLACED)):
        w.leave_if(w.differ(w.load(giver), 2), kept)  # its module's, and this call's
        w.leave_if(w.differ(w.load(giver, slots["weak"]), 0), kept)
    w.b.ret(data)
    return w.function


def emit_even(module: ir.Module) -> ir.Function:
    """`even(record, block) -> 1, or 0 with an exception`: copies, in order, of inputs that lie in memory otherwise."""
    w = Words(module, "even", 2)
    record, block = w.args
    failed, i = w.returns(0), w.variable()
    table = w.b.add(block, field(w, record, "table"))
    with w.counted(field(w, record, "inputs"), i) as k:
        old = w.load(w.element(block, k))
        with w.b.if_then(w.is_(w.load(old, at.TYPE), w.known("ndarray"))):
            flags = w.b.and_(w.load32(old, at.NDARRAY["flags"]), WORD(at.PLAIN))
            with w.b.if_then(w.differ(flags, at.PLAIN)):
                new = w.call("NewCopy", old, 0)
                w.leave_if(w.is_(new, 0), failed)
                w.store(w.element(block, k), new)
                w.store(w.element(table, k), new)
                w.call("Py_DecRef", old)
    w.b.ret(WORD(1))
    return w.function


def emit_allocate(module: ir.Module, taken: ir.Function) -> ir.Function:
    """`allocate(record, block) -> 1, or 0 with an exception`: ndarrays for the results, also in the table.

    A result that is written over an input takes its memory, if nobody else sees that, or is a copy of it.
    """
    w = Words(module, "allocate", 2)
    record, block = w.args
    failed, i, over = w.returns(0), w.variable(), w.variable()
    spec = w.variable(field(w, record, "specs"))
    results, wrapped, table, givers = (
        w.b.add(block, field(w, record, part)) for part in ("results", "wrapped", "table", "givers")
    )
    places = w.element(table, field(w, record, "inputs"))
    with w.counted(field(w, record, "outputs"), i) as k:
        dtype, ndim, shape, kind, donor, mode, size = (w.load(spec.get(), 8 * j) for j in range(SPEC_WORDS))
        spec.step(8 * SPEC_WORDS)
        over.set(0)
        with w.b.if_then(w.differ(mode, ALONE)):
            giver = w.load(w.element(givers, donor))
            over.set(w.b.call(taken, [giver, kind, mode]))
            with w.b.if_then(w.b.and_(w.differ(over.get(), 0), w.is_(mode, REPLACED))):
                w.store(w.element(wrapped, k), w.held(giver))
        with w.b.if_else(w.differ(over.get(), 0)) as (reused, fresh):
            with reused:
                array = over.get()
                w.call("Py_IncRef", array)
            with fresh:
                w.call("Py_IncRef", dtype)  # the function takes a reference over
                array = w.call("NewFromDescr", w.known("ndarray"), dtype, ndim, shape, 0, 0, 0, 0)
                w.leave_if(w.is_(array, 0), failed)
                over.set(array)
                with w.b.if_then(w.differ(mode, ALONE)):
                    source = w.element(table, donor)
                    w.copy(w.load(array, at.NDARRAY["data"]), w.load(w.load(source), at.NDARRAY["data"]), size)
                    w.store(source, array)
        w.store(w.element(results, k), over.get())
        w.store(w.element(places, k), over.get())
    constants, places = field(w, record, "constants"), w.element(places, field(w, record, "outputs"))
    with w.counted(field(w, record, "num_constants"), i) as k:
        w.store(w.element(places, k), w.load(w.element(constants, k)))
    w.b.ret(WORD(1))
    return w.function


def emit_spend(module: ir.Module, array_slot: int) -> ir.Function:
    """`spend(record, block)`: what the caller has given up holds nothing any more."""
    w = Words(module, "spend", 2)
    record, block = w.args
    i = w.variable()
    givers, gone = w.b.add(block, field(w, record, "givers")), field(w, record, "gone")
    with w.counted(field(w, record, "num_spent"), i) as k:
        pair = w.element(field(w, record, "spent"), w.b.shl(k, WORD(1)))  # an input, and the class of its Array
        giver = w.load(w.element(givers, w.load(pair)))
        with w.b.if_then(w.is_(w.load(giver, at.TYPE), w.load(pair, 8))):
            old = w.load(giver, array_slot)
            w.store(giver, w.held(gone), array_slot)
            w.call("Py_DecRef", old)
    w.b.ret(WORD(0))
    return w.function


def emit_wrap(module: ir.Module, array_slot: int) -> ir.Function:
    """`wrap(record, block) -> 1, or 0 with an exception`: each result as an Array."""
    w = Words(module, "wrap", 2)
    record, block = w.args
    failed, i = w.returns(0), w.variable()
    spec = w.variable(field(w, record, "specs"))
    results, wrapped = (w.b.add(block, field(w, record, part)) for part in ("results", "wrapped"))
    with w.counted(field(w, record, "outputs"), i) as k:
        with w.b.if_then(w.is_(w.load(w.element(wrapped, k)), 0)):
            array = w.call("PyType_GenericAlloc", w.load(spec.get(), 24), 0)
            w.leave_if(w.is_(array, 0), failed)
            w.store(array, w.load(w.element(results, k)), array_slot)
            w.store(w.element(results, k), 0)  # its reference has moved
            w.store(w.element(wrapped, k), array)
        spec.step(8 * SPEC_WORDS)
    w.b.ret(WORD(1))
    return w.function


class Building:
    """Writes `build(record, block) -> the result, or 0 with an exception`."""

    def __init__(self, module: ir.Module):
        w = self.words = Words(module, "build", 2)
        self.record, self.block = w.args
        self.code = w.variable(field(w, self.record, "build"))
        self.stack = w.variable(self.part("stack"))
        self.counter = w.variable()
        self.failed = w.returns(0)
        self.next = w.function.append_basic_block()
        w.b.branch(self.next)
        w.b.position_at_end(self.next)
        choice = w.b.switch(w.load(self.code.get()), self.failed)
        writers = {
            PUSH_OUTPUT: self._push_output, PUSH_STATIC: self._push_static, PUSH_OBJECT: self._push_object,
            MAKE_LIST: self._list, MAKE_TUPLE: self._tuple, MAKE_DICT: self._dict, MAKE_CALL: self._call,
            ASSIGN: self._assign, DELETE: self._delete, RETURN: self._return,
        }  # fmt: skip
        for op, write in writers.items():
            with w.block() as block:
                write()
                if not w.b.block.is_terminated:
                    w.b.branch(self.next)
            choice.add_case(WORD(op), block)
        self.function = w.function

    def part(self, name: str) -> ir.Value:
        return self.words.b.add(self.block, field(self.words, self.record, name))

    def operand(self, number: int) -> ir.Value:
        return self.words.load(self.code.get(), 8 + 8 * number)

    def advance(self, words: object) -> None:
        self.code.step(8 * words if isinstance(words, int) else self.words.b.shl(words, WORD(3)))

    def made(self, value: ir.Value) -> ir.Value:
        """`value`, unless it is an error."""
        self.words.leave_if(self.words.is_(value, 0), self.failed)
        return value

    def push(self, value: ir.Value) -> None:
        self.words.store(self.stack.step(), value)

    def pop(self) -> ir.Value:
        """The reference on top, which the stack no longer owns."""
        self.stack.step(-8)
        value = self.words.load(self.stack.get())
        self.words.store(self.stack.get(), 0)
        return value

    def drop(self, count: ir.Value) -> ir.Value:
        """Where the topmost `count` values begin, which become the new end of the stack."""
        self.stack.step(self.words.b.neg(self.words.b.shl(count, WORD(3))))
        return self.stack.get()

    def _push_output(self) -> None:
        w = self.words
        self.push(w.held(w.load(w.element(self.part("wrapped"), self.operand(0)))))
        self.advance(2)

    def _push_static(self) -> None:
        self.push(self.words.held(self.operand(0)))
        self.advance(2)

    def _push_object(self) -> None:
        w = self.words
        self.push(w.held(w.load(w.element(self.part("objects"), self.operand(0)))))
        self.advance(2)

    def _fill(self, items: ir.Value, length: ir.Value) -> None:
        w = self.words
        start = self.drop(length)
        with w.counted(length, self.counter) as i:
            w.store(w.element(items, i), w.load(w.element(start, i)))
            w.store(w.element(start, i), 0)

    def _list(self) -> None:
        w = self.words
        made = self.made(w.call("PyList_New", self.operand(0)))
        self._fill(w.load(made, at.LIST_ITEMS), self.operand(0))
        self.push(made)
        self.advance(2)

    def _tuple(self) -> None:
        w = self.words
        made = self.made(w.call("PyTuple_New", self.operand(0)))
        self._fill(w.address(made, at.TUPLE_ITEMS), self.operand(0))
        self.push(made)
        self.advance(2)

    def _dict(self) -> None:
        w = self.words
        made = self.made(w.call("PyDict_New"))
        self.push(made)  # on top, so that an error releases it
        length = self.operand(0)
        start = w.b.sub(self.stack.get(), w.b.shl(w.b.add(length, WORD(1)), WORD(3)))
        with w.counted(length, self.counter) as i:
            key = w.load(w.element(self.code.get(), i), 16)
            error = w.call("PyDict_SetItem", made, key, w.load(w.element(start, i)))
            w.leave_if(w.differ(error, 0), self.failed)
        self.pop()
        self._release(self.drop(length), length)
        self.push(made)
        self.advance(w.b.add(length, WORD(2)))

    def _call(self) -> None:
        w = self.words
        length = self.operand(1)
        start = w.b.sub(self.stack.get(), w.b.shl(length, WORD(3)))
        made = self.made(w.call("PyObject_Vectorcall", self.operand(0), start, length, 0))
        self._release(self.drop(length), length)
        self.push(made)
        self.advance(3)

    def _release(self, start: ir.Value, length: ir.Value) -> None:
        w = self.words
        with w.counted(length, self.counter) as i:
            value = w.load(w.element(start, i))
            w.store(w.element(start, i), 0)
            w.call("Py_DecRef", value)

    def _assign(self) -> None:
        value = self.words.load(self.stack.get(), -8)
        self._set(value)
        self.pop()
        self.words.call("Py_DecRef", value)

    def _delete(self) -> None:
        self._set(WORD(0))

    def _set(self, value: ir.Value) -> None:
        """An attribute, as `object.__setattr__` sets and `object.__delattr__` deletes it."""
        w = self.words
        obj = w.load(w.element(self.part("objects"), self.operand(0)))
        error = w.call("PyObject_GenericSetAttr", obj, self.operand(1), value)
        w.leave_if(w.differ(error, 0), self.failed)
        self.advance(3)

    def _return(self) -> None:
        self.words.b.ret(self.pop())


def emit_build(module: ir.Module) -> ir.Function:
    return Building(module).function
