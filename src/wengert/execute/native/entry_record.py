"""What a compiled call of one program is told: words in a row, read by the code that `entry_code` makes.

A record begins with the FIELDS. Behind them stand instructions: how the arguments must look (`entry_match` obeys
them), the results to be allocated, and how they are put together (`entry_result`).

A call works in a *block* of memory, whose parts are named by FIELDS too, as offsets. First every reference that the
call owns, all released at its end: values of inputs, objects' dictionaries, results as ndarrays and as Arrays, objects,
inputs' Arrays that results may be written over, a stack. Then the table for the machine code and places to note things
while matching; last the program's workspace, unless it is lent one.
"""

from __future__ import annotations

from wengert.execute.native.entry_words import Words

FIELDS = (
    "run", "python", "finish", "release",  # machine code, or functions in Python; whether to let other threads run
    "doubtful", "look", "watched",  # functions that check what the program takes for granted, and of which result
    "idle", "pop", "wanted",  # where a workspace is lent: the list of idle ones, its method, how many bytes
    "block", "bytes",  # the block that waits for the next call, 0 while it is in use; the size of one
    "positional", "keywords", "match", "specs", "build", "constants",  # numbers of arguments; addresses of instructions
    "spent", "num_spent", "gone",  # inputs given up by the caller, and what then stands in their place
    "inputs", "outputs", "num_constants", "num_objects", "references",  # how many
    "objects", "dicts", "results", "wrapped", "givers", "stack",  # references in the block
    "table", "scalars", "values", "frames", "leaves", "uneven", "marks", "mask", "work", "stores",  # other parts
)  # fmt: skip


def field(words: Words, record: object, name: str) -> object:
    return words.load(record, 8 * FIELDS.index(name))


# how an argument must look; each followed by words
LEAF = 0  # input, array type, ndarray or 0, NumPy number or 0, number or 0, which number, marks, dtype, ndim, *shape
INSIDE, GIVEN = 1, 2  # marks: it belongs to a module; a result may be written over it
STATIC = 1  # object, 0 identical | 1 a float of the same bits | 2 equal
LIST, TUPLE = 2, 3  # type, length, whether it belongs to an object
DICT = 4  # length, whether it belongs to an object, *keys
OBJECT = 5  # type, number, length, *attribute names
AGAIN = 6  # number: an object met before
TIED = 7  # input: an array met before
POP, END = 8, 9
LEAF_WORDS = 10

SPEC_WORDS = 7  # of a result: dtype, ndim, where its shape stands, class, input it is written over, mode, bytes
ALONE, REPLACED, SPENT = 0, 1, 2  # modes: over none; over what a module holds; over what the caller gives up

# how results are put together, on a stack
PUSH_OUTPUT, PUSH_STATIC, PUSH_OBJECT = 0, 1, 2  # output | object | number
MAKE_LIST, MAKE_TUPLE, MAKE_DICT, MAKE_CALL = 3, 4, 5, 6  # length | length | length, *keys | type, length
ASSIGN, DELETE, RETURN = 7, 8, 9  # number, name | number, name
