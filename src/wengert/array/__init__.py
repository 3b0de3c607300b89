"""The array object as users see it, and the functions of the array API standard."""

from wengert.array import at as at
from wengert.array import indexing as indexing
from wengert.array import methods as methods
from wengert.array import shortcuts as shortcuts
