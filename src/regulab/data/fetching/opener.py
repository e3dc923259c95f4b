"""Opening an address of a mirror: HTTP and HTTPS only, wherever redirects lead, under watch."""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import IO, Any
from urllib.parse import urlsplit

from regulab.data.fetching.patience import Patience


def opener(patience: Patience) -> urllib.request.OpenerDirector:
    """Like urllib's own, without files, FTP and ``data:``; its connections are watched by ``patience``."""
    director = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        _Http(patience),
        _Https(patience),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        director.add_handler(handler)
    return director


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to HTTP and HTTPS, and none from HTTPS to HTTP."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        fp.close()  # else urllib reads the body of the redirect, which may be endless
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            raise urllib.error.HTTPError(req.full_url, code, f"redirected to {newurl}", headers, None)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Http(urllib.request.HTTPHandler):
    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self._connect = _watched(http.client.HTTPConnection, patience)

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connect, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self._connect = _watched(http.client.HTTPSConnection, patience)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connect, req, context=ssl.create_default_context())


def _watched(kind: Callable[..., http.client.HTTPConnection], patience: Patience) -> Any:
    """Connections of ``kind`` that ``patience`` knows before anything is sent, a TLS handshake included."""

    def create_connection(*arguments: Any, **options: Any) -> socket.socket:
        connection = socket.create_connection(*arguments, **options)
        patience.watch(connection)
        return connection

    def connect(host: str, **options: Any) -> http.client.HTTPConnection:
        connection = kind(host, **options)
        # The one place where http.client makes its socket; it has had this name since Python 3.2.
        connection._create_connection = create_connection  # type: ignore[attr-defined]
        return connection

    return connect
