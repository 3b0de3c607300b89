"""Diagnoses and runs as pages: `page` makes one file of plain data, `serve` shows a run while it goes on."""

from wengert.web.page import page as page
from wengert.web.server import Server as Server
from wengert.web.server import serve as serve
