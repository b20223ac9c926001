"""A web server for the page, which only this machine reaches."""

from __future__ import annotations

import sys
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from supernet.demo.site import POLICY, Site, media_type

HOST = "127.0.0.1"
_HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",  # with the next one, browsers measure time finely
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def server_of(site: Site, port: int) -> ThreadingHTTPServer:
    """A server of ``site`` on a port of the loopback interface, 0 for any free one; it runs until it is shut
    down.

    Raises:
        OSError: The port is in use.
    """
    return _Server((HOST, port), partial(_Handler, site))


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print a traceback, but not for a browser that has closed its connection."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers requests for paths of the site."""

    def __init__(self, site: Site, *arguments: Any) -> None:
        self._site = site
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def _answer(self, with_content: bool) -> None:
        path = unquote(urlsplit(self.path).path).removeprefix("/") or "index.html"
        if not self._is_local():
            # A page elsewhere whose host name has been given the address of this machine.
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        elif path not in self._site:
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            content = self._site[path].read()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", media_type(path))
            self.send_header("Content-Length", str(len(content)))
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            self.end_headers()
            if with_content:
                self.wfile.write(content)

    def _is_local(self) -> bool:
        return (self.headers.get("Host") or "").partition(":")[0] in (HOST, "localhost")

    def version_string(self) -> str:
        return "supernet"

    def log_message(self, *_: Any) -> None:
        """Say nothing: requests are no results of the command."""
