"""Ends a transfer that is too slow, wherever it waits: for a connection's first byte, its headers, or its body."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

WINDOW = 30.0  # seconds
SLOWEST = 5_000  # bytes a second, at least, in each window: MNIST in 40 minutes
LOOKS = 20  # a window


class Patience:
    """Runs out when a window passes in which fewer than ``WINDOW · SLOWEST`` new bytes came.

    A server that sends a byte now and then never runs into a socket's time limit. So a thread looks on, and shuts down
    the watched connections, which ends every wait for them. A context manager.
    """

    def __init__(self) -> None:
        self._window_end = time.monotonic() + WINDOW
        self._news = 0
        self._connections: list[socket.socket] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.out = False
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> Patience:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()
        for connection in self._connections:
            connection.close()

    def watch(self, connection: socket.socket) -> None:
        """Keeps a duplicate: shutting that down ends the connection, also under TLS and during its handshake."""
        with self._lock:
            self._connections.append(connection.dup())
            if self.out:
                self._shut_down()

    def received(self, count: int) -> None:
        """``count`` new bytes arrived."""
        with self._lock:
            self._news += count
            if self._news >= WINDOW * SLOWEST:
                self._news, self._window_end = 0, time.monotonic() + WINDOW

    def _look_on(self) -> None:
        while not self._stop.wait(WINDOW / LOOKS):
            with self._lock:
                if time.monotonic() > self._window_end:
                    self.out = True
                    self._shut_down()

    def _shut_down(self) -> None:
        for connection in self._connections:
            with contextlib.suppress(OSError):  # the other side went first
                connection.shutdown(socket.SHUT_RDWR)
