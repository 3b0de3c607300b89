"""The command `wengert`."""

from __future__ import annotations

import argparse
import ast
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wengert import demo, flow, script, web
from wengert.contract import table
from wengert.errors import WengertError
from wengert.flow.finding import KINDS
from wengert.script import ScriptError
from wengert.show import graph

FAULT, WRONG, STOPPED = 1, 2, 130  # exit codes: a fault that --fail-on names; nothing could be said; Ctrl-C
ANY = "any"

DIAGNOSE = """
FILE is run as Python, with your rights, as `python FILE` would run it; only what stands under
`if __name__ == "__main__":` is left out. It defines

  model       an nn.Module (or name another one, or a function that returns (model, loss_fn, x, y): FILE:NAME)
  loss_fn     def loss_fn(model, x, y), which returns one number
  batch       (x, y); or the arguments of loss_fn by their names
  optimizer   may be missing; with it the learning rate is judged, too

exit codes: 0 diagnosed; 1 a fault that --fail-on names was found; 2 FILE can't be diagnosed
"""

GRAPH = """
MODULE is a module or a Python file, which is run with your rights. ARGUMENTS are numbers or lists, as Python writes
them; what has a default may be left out. Example:

  wengert graph examples/tour.py:loss_fn 0.5 -1.2 2.0 1.0 --out graph.svg
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (the process's own by default); returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # signs that a terminal lacks end no run
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except WengertError as error:
        sys.stdout.flush()
        caller = f"  at {sys._getframe(1).f_code.co_filename}:"  # no line of the user's
        text = "\n".join(line for line in str(error).splitlines() if not line.startswith(caller))
        print(f"wengert: {text}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("\nwengert: stopped", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return WRONG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wengert", description="Differentiates array programs, and shows how gradient flows through them."
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Any, told: str, epilog: str = "") -> argparse.ArgumentParser:
        made = commands.add_parser(
            name, help=told, description=told[0].upper() + told[1:] + ".", epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        made.set_defaults(run=run)
        return made

    shown = command("demo", _demo, "break two networks, find what is wrong, mend them, and show it")
    shown.add_argument("--out", metavar="FOLDER", default="out", help="where the pages go (out)")

    looked = command("diagnose", _diagnose, "say what keeps the model of a Python file from learning", DIAGNOSE)
    looked.add_argument("target", metavar="FILE[:NAME]", help="a Python file, and what in it to diagnose")
    looked.add_argument("--html", metavar="PATH", help="write the report as a page")
    looked.add_argument("--json", metavar="PATH", help="write the report as JSON; - prints it instead of the text")
    looked.add_argument("--repair", action="store_true", help="try the remedies, verify them, and say what helped")
    looked.add_argument("--steps", type=_count, default=100, help="of each short training of --repair (100)")
    looked.add_argument(
        "--fail-on", metavar="KIND", action="append", default=[], type=_kinds,
        help=f"exit code 1 if a fault of this kind is found; several with commas: {ANY}, {', '.join(KINDS)}",
    )  # fmt: skip

    drawn = command("graph", _graph, "draw a function's graph with its values and local derivatives", GRAPH)
    drawn.add_argument("target", metavar="MODULE:FUNCTION")
    drawn.add_argument("arguments", metavar="ARGUMENTS", nargs="*", type=_literal)
    drawn.add_argument("--out", metavar="PATH", help="a picture: .svg, .html, .dot, .mmd or .txt, instead of text")
    drawn.add_argument("--paths", metavar="INPUT", help="list the paths from this input to the output, with products")

    watched = command("watch", _watch, "show a training run while it goes on, as a page on this machine")
    watched.add_argument("folder", metavar="RUN", help="the folder that flow.Monitor(folder=RUN) writes")
    watched.add_argument("--port", type=int, default=0, help="a free one by default")
    watched.add_argument("--open", action="store_true", help="open the page in a browser")

    command("primitives", _primitives, "print the table of primitives and their facets, in Markdown")
    return parser


def _demo(options: argparse.Namespace) -> int:
    folder = Path(options.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ScriptError(f"--out {options.out}: can't be made ({error.strerror}); name a folder of yours") from error
    _writable(str(folder / "digits.html"), "--out")
    return 0 if demo.main(folder) else FAULT


def _diagnose(options: argparse.Namespace) -> int:
    failing = {kind for kinds in options.fail_on for kind in kinds}
    for option, path, suffix in (("--html", options.html, ".html"), ("--json", options.json, ".json")):
        if path is not None and path != "-":
            if Path(path).suffix != suffix:
                raise ScriptError(f"{option} {path}: ends in {Path(path).suffix or 'nothing'}; expected {suffix}")
            _writable(path, option)
    module, name = script.opened(options.target)
    model, loss_fn, batch, optimizer = script.subject(module, name)
    try:
        report = flow.diagnose(model, loss_fn, *batch, optimizer=optimizer)
        repair = None
        if options.repair:
            repair = flow.repair(model, loss_fn, *batch, optimizer=optimizer, steps=options.steps)
            report.repair = repair
    except WengertError:
        raise
    except Exception as error:  # the loss function's own
        raise ScriptError(f"{options.target} failed while its loss was computed:\n{script.own_lines(error)}") from error
    if options.json == "-":
        print(report.to_json(indent=2))
    else:
        print(report)
        if repair is not None:
            print(f"\n{repair}")
    for path in (options.html, options.json):
        if path is not None and path != "-":
            report.save(path)
            print(f"wrote {path}", file=sys.stderr)
    hit = [f.kind for f in report.faults if ANY in failing or f.kind in failing]
    return FAULT if hit else 0


def _graph(options: argparse.Namespace) -> int:
    module, name = script.opened(options.target)
    if name is None:
        raise ScriptError(f"{options.target}: say which function: {options.target}:FUNCTION")
    function = script.found(module, name)
    if not callable(function):
        raise ScriptError(f"{name} is a {type(function).__name__}; expected a function")
    needed = script.needed(function)
    if len(options.arguments) < len(needed):
        raise ScriptError(
            f"{name} needs {len(needed)} arguments ({', '.join(needed)}), got {len(options.arguments)}; "
            "write them after its name, as numbers or lists"
        )
    if options.out is not None:
        _writable(options.out, "--out")
    try:
        traced = graph(function)(*options.arguments)
        drawn = traced.derivative() if any(n.dtype.kind in "fc" for n in traced.outputs) else traced
        print(drawn.paths("out", options.paths) if options.paths else drawn if options.out is None else "", end="\n")
    except WengertError:
        raise
    except Exception as error:
        raise ScriptError(f"{name} failed:\n{script.own_lines(error)}") from error
    if options.out is not None:
        drawn.save(options.out)
        print(f"wrote {options.out}", file=sys.stderr)
    return 0


def _watch(options: argparse.Namespace) -> int:
    try:
        web.serve(options.folder, options.port, options.open)
    except (OSError, OverflowError) as error:
        raise ScriptError(f"port {options.port} can't be used ({error}); leave --port out for a free one") from error
    return 0


def _primitives(options: argparse.Namespace) -> int:
    sys.stdout.write(table())
    return 0


def _writable(path: str, option: str) -> None:
    """Say at once, not after the work, that a file can't be written."""
    target = Path(path)
    folder = target.parent
    if target.is_dir() or not folder.is_dir() or not os.access(target if target.exists() else folder, os.W_OK):
        why = (
            "is a folder" if target.is_dir() else f"there is no folder {folder}" if not folder.is_dir() else "not yours"
        )
        raise ScriptError(f"{option} {path}: can't be written ({why}); choose a file in a folder that exists")


def _kinds(text: str) -> list[str]:
    kinds = [k.strip().replace("-", " ").replace("non finite", "non-finite") for k in text.split(",") if k.strip()]
    wrong = [k for k in kinds if k != ANY and k not in KINDS]
    if wrong or not kinds:
        raise argparse.ArgumentTypeError(
            f"{', '.join(wrong) or text!r} is no kind of finding; use {ANY}, {', '.join(KINDS)}"
        )
    return kinds


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of steps, 2 or more")
    return int(text)


def _literal(text: str) -> Any:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number or a list, such as 0.5 or [1.0, 2.0]") from None
    return np.asarray(value) if isinstance(value, (list, tuple)) else value
