"""Wengert: differentiates array programs, and shows how gradient flows through them."""

# arrays and the functions of the array API standard
from wengert import array as array

# transformations
from wengert.batch import vmap as vmap
from wengert.control.associative import associative_scan as associative_scan
from wengert.control.checkpoint import checkpoint as checkpoint
from wengert.control.cond import cond as cond
from wengert.control.cond import switch as switch
from wengert.control.loops import fori_loop as fori_loop
from wengert.control.loops import scan as scan
from wengert.control.while_loop import while_loop as while_loop
from wengert.diff.derivatives import grad as grad
from wengert.diff.derivatives import hvp as hvp
from wengert.diff.derivatives import jvp as jvp
from wengert.diff.derivatives import linearize as linearize
from wengert.diff.derivatives import value_and_grad as value_and_grad
from wengert.diff.derivatives import vjp as vjp
from wengert.execute.jit import jit as jit

__version__ = "0.1.0"
