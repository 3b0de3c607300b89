"""The command `wengert`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from wengert.contract import table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (the process's own by default); returns the exit code."""
    parser = argparse.ArgumentParser(prog="wengert", description="Differentiates array programs.")
    commands = parser.add_subparsers(required=True, metavar="command")
    primitives = commands.add_parser("primitives", help="print the table of primitives and their facets, in Markdown")
    primitives.set_defaults(run=_primitives)
    options = parser.parse_args(arguments)
    return options.run(options)


def _primitives(options: argparse.Namespace) -> int:
    sys.stdout.write(table())
    return 0
