"""The graph as an object: text, pictures, derivatives on every edge, paths."""

from wengert.show.graph import ComputationGraph as ComputationGraph
from wengert.show.graph import DerivativeGraph as DerivativeGraph
from wengert.show.node import Edge as Edge
from wengert.show.node import GraphNode as GraphNode
from wengert.show.paths import Path as Path
from wengert.show.paths import Paths as Paths
from wengert.show.trace import graph as graph
