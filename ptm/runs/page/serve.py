"""Serves a report page on the loopback interface; it is made anew for each request."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ptm.errors import UserError
from ptm.escaping import escaped_block

_HOST = "127.0.0.1"
_SECONDS = 10
"""Seconds until the browser requests the page again."""

_HTTP_PORT = 80
_NAMES = ("localhost", "127.0.0.1", "[::1]")
_WAITING = (
    '<!doctype html><meta charset="utf-8"><title>ptm report</title>'
    f'<meta http-equiv="refresh" content="{_SECONDS}"><p>{{}}</p>'
    f"<p>The page is loaded again every {_SECONDS} seconds.</p>"
)


def _is_own_host(hosts: Sequence[str], port: int) -> bool:
    """Whether a request names this machine and `port` in its only Host header.

    A page of the network can let its own name lead to 127.0.0.1 and would read the report.
    """
    # Browsers leave out port 80.
    ends = (f":{port}", "") if port == _HTTP_PORT else (f":{port}",)
    return len(hosts) == 1 and hosts[0].lower() in [name + end for name in _NAMES for end in ends]


def serve(page: Callable[[], str], *, port: int, on_start: Callable[[str], None]) -> None:
    """Serve `page()` until Ctrl-C. `on_start` is called with its address.

    Raises UserError if the port is not free.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            own_port = server.server_port
            if not _is_own_host(self.headers.get_all("Host", []), own_port):
                self.send_error(403, explain=f"Open the page as http://localhost:{own_port}/.")
                return
            if self.path != "/":
                self.send_error(404)
                return
            try:
                status, text = 200, page()
            except UserError as error:
                # Until the training writes its next report. A browser then shows the page again.
                status, text = 503, _WAITING.format(html.escape(str(error)))
            content = escaped_block(text).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Refresh", str(_SECONDS))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            """Requests are not printed."""

    try:
        server = ThreadingHTTPServer((_HOST, port), Handler)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it must be 0 to 65535"
        raise UserError(f"--port {port}: cannot be used: {reason}.") from error
    with server:
        on_start(f"http://{_HOST}:{server.server_port}/ (until Ctrl-C)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
