"""The graph as an object: nodes, names and text."""

from __future__ import annotations

import functools
import linecache
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import wengert as wg
from wengert.errors import ArgumentError, GraphError
from wengert.show.numbers import adjoint_text, count_text, number_latex, number_text, value_text
from wengert.tree import Module

OUTSIDE = np.ones((4, 3))


def net(w1: Any, b1: Any, w2: Any, x: Any) -> Any:
    h = wg.tanh(w1 * x + b1)
    y = w2 * h
    loss = (y - 1.0) ** 2
    return loss


@pytest.fixture
def g() -> Any:
    return wg.graph(net)(0.5, 0.1, -1.2, 2.0)


# Nodes and names.


def test_nodes(g: Any) -> None:
    assert [n.name for n in g] == ["w1", "b1", "w2", "x", "mul1", "add1", "h", "y", "1", "sub1", "loss"]
    assert [n.kind for n in g.nodes] == [*["input"] * 4, *["operation"] * 4, "constant", "operation", "output"]
    h = g["h"]
    assert h.operation == "tanh" and h.inputs == [g["add1"]] and h.shape == () and h.dtype == np.float64
    assert float(h.value) == pytest.approx(np.tanh(1.1), rel=1e-15)
    assert h.source.text == "h = wg.tanh(w1 * x + b1)" and h.source.function == "net"
    assert h.source.filename == __file__
    assert g.inputs == [g["w1"], g["b1"], g["w2"], g["x"]] and g.outputs == [g["loss"]]
    assert g["out"] is g["output"] is g["net"] is g["loss"] is g.node(g["loss"])
    assert len(g) == 11 and g.name == "net"


def test_function_name_names_an_output_that_no_variable_held() -> None:
    def cost(w: Any) -> Any:
        return w * 2.0

    assert wg.graph(cost)(1.0).outputs[0].name == "cost"
    assert wg.graph(lambda w: w * 2.0)(1.0).outputs[0].name == "out"


def test_reassigned_variables_are_numbered() -> None:
    def loop(x: Any) -> Any:
        h = x
        for _ in range(3):
            h = wg.sin(h)
        x = h + 1.0
        y = x * 2.0
        return y

    g = wg.graph(loop)(0.3)
    assert [n.name for n in g if n.kind != "constant"] == ["x", "h.1", "h.2", "h", "x.1", "y"]
    assert float(g["h.1"].value) == pytest.approx(np.sin(0.3))


class Pair(NamedTuple):
    left: Any
    right: Any


class Net(Module):
    def __init__(self) -> None:
        self.layers = [Layer(), Layer()]
        self.calls = wg.asarray(0.0)


class Layer(Module):
    def __init__(self) -> None:
        self.weight = wg.asarray(np.array([1.0, 2.0]))


def test_inputs_are_named_by_path() -> None:
    def f(params: Any, pair: Any, *rest: Any, model: Any) -> Any:
        return params["w"] + params["b"][0] + pair.right + rest[0] + rest[1] + model.layers[1].weight

    g = wg.graph(f)({"w": 1.0, "b": [2.0, 3.0]}, Pair(4.0, 5.0), 6.0, 7.0, model=Net())
    assert [n.name for n in g.inputs] == [
        *("params['w']", "params['b'][0]", "params['b'][1]", "pair.left", "pair.right", "rest[0]", "rest[1]"),
        *("model.layers[0].weight", "model.layers[1].weight", "model.calls"),
    ]


def test_assigned_attributes_are_written_back() -> None:
    model = Net()

    def f(model: Any, x: Any) -> Any:
        model.calls = model.calls + 1.0
        return model.layers[0].weight * x

    wg.graph(f)(model, 2.0)
    assert type(model.calls) is wg.Array and float(model.calls) == 1.0


def test_constants_have_the_names_of_outside() -> None:
    inside = np.zeros(3)

    def f(w: Any) -> Any:
        pred = OUTSIDE @ w + wg.sum(inside * w)
        return pred

    g = wg.graph(f)(np.ones(3))
    assert [n.name for n in g if n.kind == "constant"] == ["OUTSIDE", "inside"]


def test_containers_in_locals_and_outputs() -> None:
    def f(x: Any) -> Any:
        states = [x * 2.0]
        states.append(states[0] + 1.0)
        return {"all": states, "sum": (states[0] + states[1], 3.0)}

    g = wg.graph(f)(1.0)
    assert g["states[1]"] is g["f['all'][1]"] is g["out['all'][1]"]
    assert g["f['sum'][0]"].kind == "output" and g["f['sum'][1]"].kind == "constant"


def test_argnums_leaves_other_arguments_alone() -> None:
    def f(x: Any, n: int, flag: bool) -> Any:
        assert type(n) is int and flag is True
        for _ in range(n):
            x = x * x
        return x

    g = wg.graph(f, argnums=0)(3.0, 2, True)
    assert [n.name for n in g.inputs] == ["x"] and float(g["output"].value) == 81.0


def test_partials_methods_callables_and_jitted_functions() -> None:
    class Model:
        def __call__(self, x: Any) -> Any:
            inner = x * 3.0
            return inner + 1.0

        def method(self, x: Any) -> Any:
            z = x * 5.0
            return wg.sin(z)

    def two(a: Any, b: Any) -> Any:
        c = a * b
        return wg.exp(c)

    assert "inner" in [n.name for n in wg.graph(Model())(1.0)]
    assert "z" in [n.name for n in wg.graph(Model().method)(1.0)]
    partial = wg.graph(functools.partial(two, 2.0))(1.0)
    assert "c" in [n.name for n in partial] and partial.inputs[0].name == "b"
    assert "c" in [n.name for n in wg.graph(wg.jit(two))(1.0, 2.0)]
    assert wg.graph(wg.tanh)(1.0).outputs[0].operation == "tanh"


def test_the_profile_function_is_given_back() -> None:
    def profile(frame: Any, event: str, arg: Any) -> None:
        pass

    def fails(x: Any) -> Any:
        raise KeyError(f"mine: {x * 2.0}")

    before = sys.getprofile()
    try:
        sys.setprofile(profile)
        wg.graph(net)(0.5, 0.1, -1.2, 2.0)
        with pytest.raises(KeyError, match="mine"):
            wg.graph(fails)(1.0)
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(before)


def test_a_nested_function_of_the_same_name_does_not_disturb() -> None:
    def power(x: Any, n: int) -> Any:
        below = x if n == 1 else x * power(x, n - 1)
        return below

    g = wg.graph(power, argnums=0)(2.0, 4)
    assert float(g["below"].value) == 16.0 and g["below"] is g["power"]


def test_near_names_are_listed(g: Any) -> None:
    with pytest.raises(GraphError, match=r"no value named 'los'; near it: 'loss'"):
        g["los"]
    with pytest.raises(GraphError, match=r"its inputs and outputs are 'w1', 'b1', 'w2', 'x', 'loss'"):
        g["zzzzzz"]
    with pytest.raises(GraphError, match="another graph"):
        g.node(wg.graph(net)(0.5, 0.1, -1.2, 2.0)["h"])
    with pytest.raises(GraphError, match=r"test_show\.py"):
        g.paths("loss", "w9")


def test_bad_functions() -> None:
    with pytest.raises(ArgumentError, match="takes a function, got float"):
        wg.graph(1.0)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="returned None"):
        wg.graph(lambda x: None)(1.0)
    with pytest.raises(ArgumentError, match="nothing to draw from"):
        wg.graph(lambda: wg.asarray(1.0))()
    with pytest.raises(ArgumentError, match="argument 3, but only 1"):
        wg.graph(lambda x: x, argnums=3)(1.0)


# Text.


def test_listing(g: Any) -> None:
    lines = str(g).splitlines()
    assert lines[0] == "net(w1, b1, w2, x): 4 inputs, 6 operations"
    h = next(line for line in lines if line.startswith("  h "))
    assert re.match(r"  h    = tanh\(add1\)  0\.8005   test_show\.py:\d+  h = wg\.tanh\(w1 \* x \+ b1\)$", h)
    assert lines[-1].endswith("→ output")
    assert "∂loss/∂h" in str(g.derivative()) and "∂h/∂add1 = 1 - h² = 0.3592" in str(g.derivative())
    assert repr(g) == "<ComputationGraph net(w1, b1, w2, x): 6 operations>"
    assert repr(g["h"]) == "<operation h = tanh(add1) = 0.8005>"


def test_bodies_are_listed_below_their_step() -> None:
    def f(x: Any) -> Any:
        total, _ = wg.scan(lambda c, t: (c * t, c), x, wg.asarray([1.0, 2.0]))
        return total

    lines = str(wg.graph(f)(wg.asarray(2.0))).splitlines()
    k = next(i for i, line in enumerate(lines) if line.startswith("  total"))
    assert lines[k + 1].lstrip().startswith("graph ") and lines[k + 1].startswith("      ")
    assert sum(line.lstrip().startswith("graph ") for line in lines) == 1  # once, though the step has two outputs


def test_rails(g: Any, capsys: pytest.CaptureFixture[str]) -> None:
    g.show()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["○", "w1", "=", "0.5"]
    assert lines[3].split(maxsplit=1) == ["●─╯", "mul1 = w1·x = 1"]
    assert lines[-1].split(maxsplit=1) == ["◆", f"loss = sub1² = {float(g['loss'].value):.4g}"]


def test_rails_of_shared_values(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any, z: Any) -> Any:
        a = wg.sin(x)
        b = z * 2.0
        c = a * x
        return (c + b) * a

    wg.graph(f)(1.0, 1.0).show()
    art = [re.sub(r" +\w+ = .*", "", line).strip() for line in capsys.readouterr().out.splitlines()[1:]]
    assert art == ["○", "├─●", "│ │ ○", "│ │ ●", "●─┤ │", "●─│─╯", "◆─╯"]


@pytest.mark.parametrize(
    ("number", "text", "latex"),
    [
        (0.46211715726, "0.4621", "0.4621"),
        (1.25e-7, "1.25e-07", r"1.25 \cdot 10^{-7}"),
        (-0.0, "0", "0"),
        (3, "3", "3"),
        (True, "True", "True"),
        (float("inf"), "inf", r"\infty"),
        (float("nan"), "nan", r"\text{NaN}"),
        (1 + 2j, "1+2i", "1+2i"),
    ],
)
def test_numbers(number: Any, text: str, latex: str) -> None:
    assert number_text(number) == text and number_latex(number) == latex


def test_summaries_of_arrays() -> None:
    assert value_text(wg.asarray([1.0, 0.25])) == "[1, 0.25]"
    assert value_text(wg.asarray(np.arange(6.0).reshape(2, 3))) == "float64 2×3: 0 … 5"
    assert value_text(wg.zeros((0, 2))) == "float32 0×2"
    assert value_text(wg.asarray(np.array([np.nan, 1.0, -np.inf, np.nan, 2.0]))) == "float64 5: -inf … 2, 2 NaN"
    assert value_text(wg.asarray(np.full(5, np.nan))) == "float64 5: all NaN"
    assert adjoint_text(wg.asarray(np.full((2, 2), 3.0))) == "array of norm 6"
    assert count_text(10**100) == str(10**100)
    assert count_text(7 * 10**5000) == "about 7.00·10^5000"


# The documentation.


def test_documentation_prints_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parent.parent / "docs" / "graph.md").read_text()
    scope: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", text, re.S)
    assert len(blocks) == text.count("```python")
    for k, (code, printed) in enumerate(blocks):
        name = "example.py" if k == 0 else f"example{k}.py"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        exec(compile(code, name, "exec"), scope)
        assert capsys.readouterr().out.rstrip() == printed.rstrip()
    scope["d"].save(tmp_path / "g.mmd")
    assert (tmp_path / "g.mmd").read_text() in text
