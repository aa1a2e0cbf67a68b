"""`ptm report`: the curves of runs as one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path

from ptm.cli.console import print_done
from ptm.errors import EXIT_DONE, UserError

NAME = "report"
HELP = "write an HTML page with the curves of one or several runs"
ORDER = 132

_PORT = 6007


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="folders of runs")
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="the page (default: report.html in the run's folder; of several runs, in the current "
        "one)",
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="serve the page on this machine while the runs continue, until Ctrl-C",
    )
    parser.add_argument(
        "--port", metavar="PORT", type=int, help=f"with --live: the port (default {_PORT})"
    )


def run(parsed: argparse.Namespace) -> int:
    from ptm.runs.report import report_page, write_report

    if parsed.port is not None and not parsed.live:
        raise UserError("--port is for --live.")
    if not parsed.live:
        print_done(str(write_report(parsed.runs, parsed.out)))
        return EXIT_DONE
    if parsed.out is not None:
        raise UserError("--out is not for --live, which writes no file.")
    from ptm.runs.page.damage import log_damage
    from ptm.runs.page.serve import serve

    port = _PORT if parsed.port is None else parsed.port
    report_page(parsed.runs)  # What is wrong is an error here, before anything is served.
    log_damage(parsed.runs)
    serve(lambda: report_page(parsed.runs), port=port, on_start=print_done)
    return EXIT_DONE
