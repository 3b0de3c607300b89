"""The code that compares a call's arguments with a record and collects where their numbers lie.

It holds a reference to every input's value, since other threads may run while the program does. No code of users' runs
meanwhile (the collector is held off), so that what is walked stays as it is.
"""

from __future__ import annotations

from llvmlite import ir

from wengert.execute.native import entry_layout as at
from wengert.execute.native.entry_record import (
    AGAIN,
    DICT,
    END,
    GIVEN,
    INSIDE,
    LEAF,
    LEAF_WORDS,
    LIST,
    OBJECT,
    POP,
    STATIC,
    TIED,
    TUPLE,
    field,
)
from wengert.execute.native.entry_words import WORD, Words

HASH = 0x9E3779B97F4A7C15 - (1 << 64)  # 2⁶⁴ over the golden ratio: addresses spread by multiplication


class Matching:
    """Writes `match(record, block, arguments, number, names) -> whether they match`."""

    def __init__(self, module: ir.Module, array_slot: int):
        w = self.words = Words(module, "match", 5)
        self.known, self.array_slot = w.known, array_slot
        self.record, self.block, arguments, number, names = w.args
        self.counter, self.overflow = w.variable(), w.variable()
        self.position, self.key, self.value = w.variable(), w.variable(), w.variable()
        self.data, self.kind, self.place = w.variable(), w.variable(), w.variable()
        self.code = w.variable(self.field("match"))
        self.items = w.variable(arguments)
        self.frames = w.variable(self.part("frames"))
        self.shared = w.variable()  # whether a container inside an object, on the way here, has other holders
        self.values = w.variable(self.part("values"))
        self.failed = w.returns(0)
        self._names(number, names)
        self.next = w.function.append_basic_block()
        w.b.branch(self.next)
        w.b.position_at_end(self.next)
        choice = w.b.switch(w.load(self.code.get()), self.failed)
        writers = {
            LEAF: self._leaf, STATIC: self._static, LIST: self._list, TUPLE: self._tuple, DICT: self._dict,
            OBJECT: self._object, AGAIN: self._again, TIED: self._tied, POP: self._pop, END: self._end,
        }  # fmt: skip
        for op, write in writers.items():
            with w.block() as block:
                write()
                if not w.b.block.is_terminated:
                    w.b.branch(self.next)
            choice.add_case(WORD(op), block)
        self.function = w.function

    def field(self, name: str) -> ir.Value:
        return field(self.words, self.record, name)

    def part(self, name: str) -> ir.Value:
        """The address of a part of the block."""
        return self.words.b.add(self.block, self.field(name))

    def operand(self, number: int) -> ir.Value:
        return self.words.load(self.code.get(), 8 + 8 * number)

    def item(self) -> ir.Value:
        """What comes next in the container that is being walked."""
        return self.words.load(self.items.step())

    def advance(self, words: object) -> None:
        self.code.step(8 * words if isinstance(words, int) else self.words.b.shl(words, WORD(3)))

    def need(self, condition: ir.Value) -> None:
        w = self.words
        onward = w.function.append_basic_block()
        w.b.cbranch(condition, onward, self.failed)
        w.b.position_at_end(onward)

    def type_of(self, obj: object) -> ir.Value:
        return self.words.load(obj, at.TYPE)

    def _names(self, number: ir.Value, names: ir.Value) -> None:
        """As many positional arguments, and the same keywords in the same order."""
        w = self.words
        self.need(w.is_(number, self.field("positional")))
        wanted = self.field("keywords")
        with w.b.if_else(w.is_(names, 0)) as (without, given):
            with without:
                self.need(w.is_(wanted, 0))
            with given:
                self.need(w.is_(w.load(names, at.SIZE), wanted))
                with w.counted(wanted, self.counter) as i:
                    known = w.load(w.element(self.code.get(), i))
                    self.need(w.is_(w.load(w.element(names, i), at.TUPLE_ITEMS), known))
        self.advance(wanted)

    # Leaves

    def _leaf(self) -> None:
        w = self.words
        number, array, bare, scalar, python, which, marks, dtype, ndim = map(self.operand, range(LEAF_WORDS - 1))
        obj = self.item()
        kind = self.type_of(obj)
        self.data.set(obj)
        self.kind.set(kind)
        with w.b.if_else(w.is_(kind, array)) as (wrapped, naked):
            with wrapped:
                data = w.load(obj, self.array_slot)
                self.need(w.differ(data, 0))
                self.data.set(data)
                self.kind.set(self.type_of(data))
            with naked:
                strong = w.b.and_(w.is_(kind, scalar), w.differ(bare, 0))
                self.need(w.b.or_(w.b.or_(w.is_(kind, bare), strong), w.is_(kind, python)))
        with w.b.if_then(w.differ(w.b.and_(marks, WORD(INSIDE)), 0)):
            self._unseen(obj)
            w.store(w.element(self.part("leaves"), number), obj)
        with w.b.if_then(w.b.and_(w.differ(w.b.and_(marks, WORD(GIVEN)), 0), w.is_(self.shared.get(), 0))):
            w.store(w.element(self.part("givers"), number), w.held(obj))
        data, kind = self.data.get(), self.kind.get()
        self.place.set(data)
        with w.b.if_else(w.is_(kind, self.known("ndarray"))) as (array_case, number_case):
            with array_case:
                self._array(data, dtype, ndim)
            with number_case:
                self._number(data, w.is_(kind, scalar), w.is_(kind, python), number, which)
        w.store(w.element(self.block, number), w.held(data))
        w.store(w.element(self.part("table"), number), self.place.get())
        self.advance(w.b.add(ndim, WORD(LEAF_WORDS)))

    def _array(self, data: ir.Value, dtype: ir.Value, ndim: ir.Value) -> None:
        """An ndarray of this type and shape; it is noted if it isn't laid out as the machine code expects."""
        w = self.words
        self.need(w.is_(w.load(data, at.NDARRAY["dtype"]), dtype))
        self.need(w.is_(w.load32(data, at.NDARRAY["ndim"]), ndim))
        shape, wanted = w.load(data, at.NDARRAY["shape"]), w.address(self.code.get(), 8 * LEAF_WORDS)
        with w.counted(ndim, self.counter) as i:
            self.need(w.is_(w.load(w.element(shape, i)), w.load(w.element(wanted, i))))
        flags = w.b.and_(w.load32(data, at.NDARRAY["flags"]), WORD(at.PLAIN))
        with w.b.if_then(w.differ(flags, at.PLAIN)):
            w.store(self.part("uneven"), 1)

    def _number(
        self, data: ir.Value, is_scalar: ir.Value, is_python: ir.Value, number: ir.Value, which: ir.Value
    ) -> None:
        """A number: the table gets a stand-in for an ndarray, of which the code reads where the data is."""
        w = self.words
        self.need(w.b.or_(is_scalar, is_python))
        stand_in = w.b.add(self.part("scalars"), w.b.shl(number, WORD(5)))
        inside = w.address(stand_in, at.NDARRAY["data"] + 8)
        w.store(stand_in, w.address(data, at.NUMBER), at.NDARRAY["data"])
        with w.b.if_then(w.b.and_(is_python, w.is_(which, 1))):  # an int
            narrow = w.b.ptrtoint(self.overflow.place, WORD)
            self.overflow.set(0)
            w.store(inside, w.call("PyLong_AsLongLongAndOverflow", data, narrow))
            self.need(w.is_(w.load32(narrow), 0))
            w.store(stand_in, inside, at.NDARRAY["data"])
        with w.b.if_then(w.b.and_(is_python, w.is_(which, 2))):  # a truth value
            w.store(inside, w.b.zext(w.is_(data, self.known("True")), WORD))
            w.store(stand_in, inside, at.NDARRAY["data"])
        self.place.set(stand_in)

    def _unseen(self, obj: ir.Value) -> None:
        """Fails where `obj` was met before: then it is shared, which is another structure."""
        w = self.words
        mask = self.field("mask")
        self.counter.set(w.b.and_(w.b.lshr(w.b.mul(obj, WORD(HASH)), WORD(40)), mask))
        head, body, after = (w.function.append_basic_block() for _ in range(3))
        w.b.branch(head)
        w.b.position_at_end(head)
        known = w.load(w.element(self.part("marks"), self.counter.get()))
        w.b.cbranch(w.is_(known, 0), after, body)
        w.b.position_at_end(body)
        self.need(w.differ(known, obj))
        self.counter.set(w.b.and_(w.b.add(self.counter.get(), WORD(1)), mask))
        w.b.branch(head)
        w.b.position_at_end(after)
        w.store(w.element(self.part("marks"), self.counter.get()), obj)

    def _tied(self) -> None:
        w = self.words
        self.need(w.is_(self.item(), w.load(w.element(self.part("leaves"), self.operand(0)))))
        self.advance(2)

    def _static(self) -> None:
        """A setting: the same object, or an equal number or text."""
        w = self.words
        known, which, obj = self.operand(0), self.operand(1), self.item()
        with w.b.if_then(w.differ(known, obj)):
            self.need(w.b.and_(w.differ(which, 0), w.is_(self.type_of(known), self.type_of(obj))))
            with w.b.if_else(w.is_(which, 1)) as (by_bits, by_value):
                with by_bits:
                    self.need(w.is_(w.load(known, at.NUMBER), w.load(obj, at.NUMBER)))
                with by_value:
                    self.need(w.is_(w.call("PyObject_RichCompareBool", known, obj, 2), 1))
        self.advance(3)

    # Containers

    def _enter(self, items: ir.Value) -> None:
        self.words.store(self.frames.step(), self.items.get())
        self.words.store(self.frames.step(), self.shared.get())
        self.items.set(items)

    def _share(self, container: ir.Value, belongs: ir.Value) -> None:
        """Once entered: note whether others hold this container, which belongs to an object."""
        w = self.words
        others = w.b.and_(w.differ(belongs, 0), w.differ(w.load(container), 1))
        self.shared.set(w.b.or_(self.shared.get(), w.b.zext(others, WORD)))

    def _pop(self) -> None:
        for variable in (self.shared, self.items):
            self.frames.step(-8)
            variable.set(self.words.load(self.frames.get()))
        self.advance(1)

    def _sequence(self) -> ir.Value:
        w = self.words
        obj = self.item()
        self.need(w.is_(self.type_of(obj), self.operand(0)))
        self.need(w.is_(w.load(obj, at.SIZE), self.operand(1)))
        return obj

    def _list(self) -> None:
        obj = self._sequence()
        self._enter(self.words.load(obj, at.LIST_ITEMS))
        self._share(obj, self.operand(2))
        self.advance(4)

    def _tuple(self) -> None:
        obj = self._sequence()
        self._enter(self.words.address(obj, at.TUPLE_ITEMS))
        self._share(obj, self.operand(2))
        self.advance(4)

    def _dict(self) -> None:
        obj = self.item()
        self.need(self.words.is_(self.type_of(obj), self.known("dict")))
        length, belongs = self.operand(0), self.operand(1)
        self._entries(obj, length, 3)
        self._share(obj, belongs)

    def _entries(self, mapping: ir.Value, length: ir.Value, names_at: int) -> None:
        """The values of a dictionary with the same keys in the same order, laid in a row."""
        w = self.words
        self.need(w.is_(w.call("PyDict_Size", mapping), length))
        keys = w.address(self.code.get(), 8 * names_at)
        places = [w.b.ptrtoint(v.place, WORD) for v in (self.position, self.key, self.value)]
        start = self.values.get()
        self.position.set(0)
        with w.counted(length, self.counter) as i:
            w.call("PyDict_Next", mapping, *places)
            self.need(w.is_(self.key.get(), w.load(w.element(keys, i))))
            w.store(self.values.step(), self.value.get())
        self._enter(start)
        self.advance(w.b.add(length, WORD(names_at)))

    def _object(self) -> None:
        w = self.words
        obj, number = self.item(), self.operand(1)
        self.need(w.is_(self.type_of(obj), self.operand(0)))
        self._unseen(obj)
        attributes = w.call("PyObject_GenericGetDict", obj, 0)
        with w.b.if_then(w.is_(attributes, 0)):
            w.call("PyErr_Clear")
            w.b.branch(self.failed)
        w.store(w.element(self.part("dicts"), number), attributes)
        w.store(w.element(self.part("objects"), number), w.held(obj))
        self.need(w.is_(self.type_of(attributes), self.known("dict")))
        self._entries(attributes, self.operand(2), 4)
        self.shared.set(0)  # an object is one thing, whoever holds it

    def _again(self) -> None:
        w = self.words
        self.need(w.is_(self.item(), w.load(w.element(self.part("objects"), self.operand(0)))))
        self.advance(2)

    def _end(self) -> None:
        self.words.b.ret(WORD(1))


def emit_match(module: ir.Module, array_slot: int) -> ir.Function:
    return Matching(module, array_slot).function
