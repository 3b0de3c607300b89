"""Wengert: differentiates array programs, and shows how gradient flows through them."""

# arrays and the functions of the array API standard
from wengert import array as array

# transformations
from wengert.batch import vmap as vmap
from wengert.diff.derivatives import grad as grad
from wengert.diff.derivatives import hvp as hvp
from wengert.diff.derivatives import jvp as jvp
from wengert.diff.derivatives import linearize as linearize
from wengert.diff.derivatives import value_and_grad as value_and_grad
from wengert.diff.derivatives import vjp as vjp

__version__ = "0.1.0"
