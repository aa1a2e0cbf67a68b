"""Serves a report page on the loopback interface; it is made anew for each request."""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ptm.errors import UserError
from ptm.escaping import escaped_block

_HOST = "127.0.0.1"
_SECONDS = 10
"""Seconds until the browser requests the page again."""


def serve(page: Callable[[], str], *, port: int, on_start: Callable[[str], None]) -> None:
    """Serve `page()` until Ctrl-C. `on_start` is called with its address.

    Raises UserError if the port is not free.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            if self.path != "/":
                self.send_error(404)
                return
            try:
                status, text = 200, page()
            except UserError as error:
                status, text = 500, str(error)
            content = escaped_block(text).encode()
            self.send_response(status)
            self.send_header("Content-Type", f"text/{'html' if status == 200 else 'plain'}; charset=utf-8")
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
