"""The graph: types, primitives, maps, recording. Knows no particular primitive."""

from wengert.ir import text as text  # attaches the printer
from wengert.ir.array import Array as Array
from wengert.ir.graph import Graph as Graph
from wengert.ir.graph import Node as Node
from wengert.ir.graph import Var as Var
