"""Graph passes, shared by the executors: each takes a graph and gives a graph that means the same and costs less."""

from wengert.passes.pipeline import simplify as simplify
