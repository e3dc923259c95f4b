"""While a network is built nothing is downloaded: what it started from would be another thing tomorrow."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from regulab.errors import UserError

CURE = "download the weights yourself, and give the file: `weights: FILE`, with nothing pretrained in args"
_lock = threading.Lock()  # one at a time replaces what the standard library's module has
_here = threading.local()


class NetworkRefusedError(OSError):
    """What the code gets that asks for the network."""


@contextmanager
def offline(name: str, where: str) -> Iterator[None]:
    """Inside, this thread finds no network. What fails after it asked for one becomes a `UserError` that says so.

    Other threads keep theirs, and so do sockets within the machine (AF_UNIX). Code that does without, as libraries do
    that have a copy on disk, goes on.
    """
    if getattr(_here, "offline", False):
        yield
        return
    asked: list[str] = []

    def refusing(original: Callable[..., Any], address: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            place = address(*arguments) if getattr(_here, "offline", False) else None
            if place is None:
                return original(*arguments, **named)
            asked.append(str(place))
            raise NetworkRefusedError(f"no network while a network is built (asked for {place})")

        return call

    with _lock:
        kept = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo
        own = {"connect", "connect_ex"} & vars(
            socket.socket
        ).keys()  # what others put there; else it is inherited
        socket.socket.connect = refusing(kept[0], _address)  # type: ignore[method-assign]
        socket.socket.connect_ex = refusing(kept[1], _address)  # type: ignore[method-assign]
        socket.getaddrinfo = refusing(kept[2], lambda host=None, *_: host or "localhost")
        _here.offline = True
        try:
            yield
        except Exception as error:
            if not asked:
                raise
            raise UserError(
                f"{name} needs the network", got=asked[0], expected="a network that is built from what is here",
                where=where, cure=CURE,
            ) from error  # fmt: skip
        finally:
            _here.offline = False
            for name, method in zip(("connect", "connect_ex"), kept, strict=False):
                if name in own:
                    setattr(socket.socket, name, method)
                else:
                    delattr(socket.socket, name)
            socket.getaddrinfo = kept[2]


def _address(connection: socket.socket, address: Any = None, *_: Any) -> Any:
    """Where a socket would connect to; None within the machine."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    return address[0] if isinstance(address, tuple) and address else address
