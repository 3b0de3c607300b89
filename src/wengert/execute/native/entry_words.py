"""A small way to write LLVM code that handles objects: everything is a 64-bit word, a number or an address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from wengert.execute.native.entry_layout import FUNCTIONS, NARROW

I1, I8, I32, WORD = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64)
BYTES = I8.as_pointer()
OBJECTS = ("ndarray", "dict", "True", "watchers", "general")
SERVICES = (
    "NewFromDescr",
    "NewCopy",
    *FUNCTIONS,
    *OBJECTS,
)  # the order of addresses in the table that the code is given


class Variable:
    """A word that changes; LLVM turns it into a register."""

    def __init__(self, words: Words, value: Any):
        self.words = words
        self.place = words.b.alloca(WORD)
        self.set(value)

    def get(self) -> ir.Value:
        return self.words.b.load(self.place)

    def set(self, value: Any) -> None:
        self.words.b.store(self.words.of(value), self.place)

    def step(self, by: Any = 8) -> ir.Value:
        """Its value, which then grows."""
        before = self.get()
        self.set(self.words.b.add(before, self.words.of(by)))
        return before


class Words:
    """A function of words that returns a word, under construction."""

    def __init__(self, module: ir.Module, name: str, arguments: int):
        self.function = ir.Function(module, ir.FunctionType(WORD, [WORD] * arguments), name)
        self.b = ir.IRBuilder(self.function.append_basic_block())
        self.args = self.function.args
        self.services = module.globals["services"]

    def of(self, value: Any) -> ir.Value:
        return WORD(value) if isinstance(value, int) else value

    def address(self, value: Any, offset: Any = 0) -> ir.Value:
        return self.b.add(self.of(value), self.of(offset)) if not isinstance(offset, int) or offset else self.of(value)

    def load(self, address: Any, offset: Any = 0) -> ir.Value:
        return self.b.load(self.b.inttoptr(self.address(address, offset), WORD.as_pointer()))

    def load32(self, address: Any, offset: Any = 0) -> ir.Value:
        narrow = self.b.load(self.b.inttoptr(self.address(address, offset), I32.as_pointer()))
        return self.b.zext(narrow, WORD)

    def store(self, address: Any, value: Any, offset: Any = 0) -> None:
        self.b.store(self.of(value), self.b.inttoptr(self.address(address, offset), WORD.as_pointer()))

    def element(self, address: Any, index: Any) -> ir.Value:
        return self.b.add(self.of(address), self.b.shl(self.of(index), WORD(3)))

    def variable(self, value: Any = 0) -> Variable:
        return Variable(self, value)

    def call(self, name: str, *arguments: Any) -> ir.Value:
        """A function of CPython or NumPy; an int that it returns becomes a word."""
        return self.call_at(self.known(name), *arguments, narrow=name in NARROW)

    def known(self, name: str) -> ir.Value:
        """The address of a function or an object that the table names."""
        return self.b.load(self.b.gep(self.services, [WORD(0), WORD(SERVICES.index(name))]))

    def call_at(self, address: Any, *arguments: Any, narrow: bool = False) -> ir.Value:
        values = [self.of(a) for a in arguments]
        kind = ir.FunctionType(I32 if narrow else WORD, [v.type for v in values])
        result = self.b.call(self.b.inttoptr(self.of(address), kind.as_pointer()), values)
        return self.b.sext(result, WORD) if narrow else result

    def is_(self, a: Any, b: Any) -> ir.Value:
        return self.b.icmp_unsigned("==", self.of(a), self.of(b))

    def differ(self, a: Any, b: Any) -> ir.Value:
        return self.b.icmp_unsigned("!=", self.of(a), self.of(b))

    def held(self, value: Any) -> ir.Value:
        """`value`, with one more reference."""
        self.call("Py_IncRef", value)
        return value

    def clear(self, start: ir.Value, words: ir.Value) -> None:
        clear = self.function.module.declare_intrinsic("llvm.memset", [BYTES, WORD])
        self.b.call(clear, [self.b.inttoptr(start, BYTES), I8(0), self.b.shl(words, WORD(3)), I1(0)])

    def copy(self, target: ir.Value, source: ir.Value, size: ir.Value) -> None:
        copy = self.function.module.declare_intrinsic("llvm.memcpy", [BYTES, BYTES, WORD])
        self.b.call(copy, [self.b.inttoptr(target, BYTES), self.b.inttoptr(source, BYTES), size, I1(0)])

    def leave_if(self, condition: ir.Value, where: ir.Block) -> None:
        onward = self.function.append_basic_block()
        self.b.cbranch(condition, where, onward)
        self.b.position_at_end(onward)

    @contextmanager
    def block(self) -> Iterator[ir.Block]:
        """A block written aside; afterwards the place before is current again."""
        here, block = self.b.block, self.function.append_basic_block()
        self.b.position_at_end(block)
        yield block
        self.b.position_at_end(here)

    def returns(self, value: Any) -> ir.Block:
        with self.block() as block:
            self.b.ret(self.of(value))
        return block

    @contextmanager
    def counted(self, number: Any, counter: Variable) -> Iterator[ir.Value]:
        """The inside for every `counter` from 0 below `number`."""
        head, body, after = (self.function.append_basic_block() for _ in range(3))
        counter.set(0)
        self.b.branch(head)
        self.b.position_at_end(head)
        i = counter.get()
        self.b.cbranch(self.b.icmp_signed("<", i, self.of(number)), body, after)
        self.b.position_at_end(body)
        yield i
        counter.set(self.b.add(i, WORD(1)))
        self.b.branch(head)
        self.b.position_at_end(after)
