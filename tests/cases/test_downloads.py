"""Servers that never end, drip, lead astray or answer in escape codes: one mirror is lost, and the next one serves."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import regulab.cli.data  # noqa: F401  (its imports are no part of what is timed)
from regulab.cli import app
from regulab.data import Dataset
from regulab.data.fetching import download, fetch, opener, patience
from regulab.data.fetching.fetch import FetchError, RemoteFile, verify
from regulab.errors import UserError

CONTENT = np.random.default_rng(0).bytes(60_000)
ARCHIVE = gzip.compress(CONTENT, mtime=0)
NAME = "images.gz"
Answer = Callable[[socket.socket, int], None]


class Server:
    """Hands each connection, and how many came before it, to ``answer``, after the request's headers."""

    def __init__(self, answer: Answer) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.answer, self.closed = answer, threading.Event()
        self.requests: list[Any] = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}/"

    def _serve(self) -> None:
        while not self.closed.is_set():
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection, len(self.requests)), daemon=True).start()

    def _talk(self, connection: socket.socket, number: int) -> None:
        with connection:
            request = b""
            while b"\r\n\r\n" not in request:
                more = connection.recv(4096)
                if not more:
                    return
                request += more
            self.requests.append(request)
            try:
                self.answer(connection, number)
            except OSError:
                return  # the client has had enough


@contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    server = Server(answer)
    server.thread.start()
    try:
        yield server
    finally:
        server.closed.set()
        server.socket.shutdown(socket.SHUT_RDWR)
        server.socket.close()


def whole(connection: socket.socket, _number: int) -> None:
    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(ARCHIVE)}\r\n\r\n".encode() + ARCHIVE)


def endlessly(connection: socket.socket, start: bytes, chunk: bytes, pause: float = 0.0) -> None:
    connection.sendall(start)
    while True:
        connection.sendall(chunk)
        time.sleep(pause)


def redirect(target: str, status: int = 302) -> Answer:
    def answer(connection: socket.socket, _number: int) -> None:
        connection.sendall(
            f"HTTP/1.1 {status} Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
        )

    return answer


@pytest.fixture
def good() -> Iterator[Server]:
    with serving(whole) as server:
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A moment of patience in place of thirty seconds."""
    monkeypatch.setattr(patience, "WINDOW", 0.3)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def dataset(*mirrors: str) -> Dataset:
    file = RemoteFile(
        name=NAME,
        folder="SET/raw",
        mirrors=mirrors,
        content_bytes=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )
    return Dataset(name="made", summary="a made one", source="here", load=lambda root: None, files=(file,))


def get(root: Path, *mirrors: str) -> Path:
    (path,) = fetch.fetch(dataset(*mirrors), root, lambda *event: None, pause=0.001)
    return path


def bad_then_good(tmp_path: Path, answer: Answer, good: Server, seconds: float = 3.0) -> list[bytes]:
    """The bad mirror is left, soon, and the good one serves; the requests that the bad one had."""
    with serving(answer) as bad:
        start = time.monotonic()
        path = get(tmp_path, bad.address, good.address)
        assert time.monotonic() - start < seconds
    assert path.read_bytes() == ARCHIVE
    assert sorted(entry.name for entry in path.parent.iterdir()) == [NAME]
    assert bad.requests
    return bad.requests


def slow(*values: bytes) -> object:
    return pytest.param(*values, marks=pytest.mark.slow)


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("start", "chunk"),
    [
        (OK + b"\r\n", b"x" * 65536),
        (CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        (OK + b"Content-Length: 99999999999\r\n\r\n", b"x" * 65536),
        (OK, b"X-Header: more\r\n"),
        (b"HTTP/1.1 200 ", b"x" * 1000),
        (b"HTTP/1.1 302 Found\r\nLocation: /images.gz\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", b"x" * 65536),
        slow(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=[
        "no length",
        "chunked",
        "a long length",
        "headers",
        "status line",
        "redirect",
        "error page",
        "continue",
    ],
)
def test_an_endless_answer(tmp_path, good, start, chunk):
    bad_then_good(tmp_path, lambda connection, _: endlessly(connection, start, chunk), good)


@pytest.mark.parametrize(
    ("start", "chunk"),
    [
        slow(b"", b"H"),
        (OK, b"X"),
        slow(OK + b"\r\n", b"x"),
        (OK + b"Content-Length: 50000\r\n\r\n", b"x"),
        slow(CHUNKED, b"0"),
        (CHUNKED, b"1\r\nx\r\n"),
    ],
    ids=["status", "headers", "body", "body with a length", "size of a chunk", "chunks"],
)
def test_a_slow_drip(tmp_path, good, start, chunk):
    """A byte now and then: no wait for one is ever too long."""
    bad_then_good(tmp_path, lambda connection, _: endlessly(connection, start, chunk, 0.02), good)


def test_silence(tmp_path, good):
    bad_then_good(tmp_path, lambda connection, _: time.sleep(2), good)


def test_a_byte_a_connection(tmp_path, good):
    """Each attempt brings something, and would be followed by another, for ever."""

    def answer(connection: socket.socket, number: int) -> None:
        time.sleep(0.02)
        length = len(ARCHIVE) - number
        status = (
            f"206 x\r\nContent-Range: bytes {number}-{len(ARCHIVE) - 1}/{len(ARCHIVE)}"
            if number
            else "200 OK"
        )
        connection.sendall(
            f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n".encode() + ARCHIVE[number : number + 1]
        )

    assert len(bad_then_good(tmp_path, answer, good)) > 2


def test_answers_of_changing_length_do_not_count_as_progress(tmp_path, good):
    """100 bytes, 50, 100, 50 …, each time from the beginning."""

    def answer(connection: socket.socket, number: int) -> None:
        start = OK + f"Content-Length: {len(ARCHIVE)}\r\n\r\n".encode()
        connection.sendall(start + ARCHIVE[: 50 if number % 2 else 100])

    assert len(bad_then_good(tmp_path, answer, good)) < 10


def test_what_comes_slowly_but_steadily_is_taken(tmp_path):
    """More than 5,000 bytes a second: patience starts again with every window that was filled."""

    def answer(connection: socket.socket, _number: int) -> None:
        connection.sendall(OK + f"Content-Length: {len(ARCHIVE)}\r\n\r\n".encode())
        for start in range(0, len(ARCHIVE), 2_000):
            connection.sendall(ARCHIVE[start : start + 2_000])
            time.sleep(0.03)

    with serving(answer) as server:
        start = time.monotonic()
        assert get(tmp_path, server.address).read_bytes() == ARCHIVE
        assert time.monotonic() - start > patience.WINDOW


@pytest.mark.parametrize(
    "target",
    [
        "/images.gz",
        "file:///etc/passwd",
        "ftp://127.0.0.1/images.gz",
        "data:text/plain,hello",
        "http://127.0.0.1:99999/images.gz",
        "http://127.0.0.1:-1/images.gz",
        "http://127.0.0.1:port/images.gz",
        "http://127.0.0.1:1/images.gz",
        "http://[::1/images.gz",
        "http:///images.gz",
        "http://",
        "http://" + "x" * 70 + ".invalid/",
        "http://\u00e9\u00e9..invalid/",
        "gopher://127.0.0.1/",
        "//",
        "",
        "http://127.0.0.1:80\x00/",
    ],
)
@pytest.mark.parametrize("status", [302, 308])
def test_a_redirect_that_leads_nowhere(tmp_path, good, target, status):
    bad_then_good(tmp_path, redirect(target, status), good)


def test_a_redirect_to_a_good_place_is_followed(tmp_path, good):
    with serving(redirect(good.address + NAME)) as server:
        assert get(tmp_path, server.address).read_bytes() == ARCHIVE
    assert len(good.requests) == 1


def test_no_redirect_from_https_to_http():
    """What was asked for under TLS does not come in the clear."""
    import http.client
    import urllib.error
    import urllib.request

    redirects = opener._Redirects()
    asked = urllib.request.Request("https://mirror.example/images.gz")

    def follow(url: str) -> urllib.request.Request | None:
        body = open(os.devnull, "rb")  # noqa: SIM115  (closed by what is tested)
        return redirects.redirect_request(asked, body, 302, "Found", http.client.HTTPMessage(), url)

    assert follow("https://other.example/images.gz").full_url == "https://other.example/images.gz"
    for url in (
        "http://mirror.example/images.gz",
        "HTTP://mirror.example/",
        "file:///etc/passwd",
        "ftp://x/",
    ):
        with pytest.raises(urllib.error.HTTPError, match="redirected to"):
            follow(url)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 \x1b[31mred\x9b\x07\xe2\x80\xae\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 " + b"long " * 5_000 + b"\r\n\r\n",
        b"HTTP/1.1 302 x\r\nLocation: file:///\x1b]0;title\x07\r\n\r\n",
        b"\x1b[2J\x1b[1;1H not HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \x1b[31m\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\x1b[31m\r\n",
    ],
)
def test_what_servers_say_is_escaped_and_cut(tmp_path, answer):
    with (
        serving(lambda connection, _: connection.sendall(answer)) as server,
        pytest.raises(FetchError) as caught,
    ):
        get(tmp_path, server.address)
    message = str(caught.value)
    assert f"{server.address}{NAME}: " in message
    assert not [character for character in message if character != "\n" and not character.isprintable()]
    assert len(message) < 400


def test_all_that_failed_is_exit_code_1_and_named(tmp_path, monkeypatch):
    with serving(redirect("file:///etc/passwd")) as server:
        monkeypatch.setattr("regulab.data.find_dataset", lambda name: dataset(server.address))
        answer = CliRunner().invoke(app, ["data", "fetch", "made", "--data-root", str(tmp_path)])
    assert answer.exit_code == 1
    assert f"{server.address}{NAME}: HTTP 302" in answer.stderr
    assert "Traceback" not in answer.output


# --------------------------------------------------------------------------------------------------- the files


def part_of(root: Path) -> Path:
    part = root / "SET" / "raw" / f"{NAME}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    return part


@pytest.mark.parametrize("kind", ["link", "dangling link", "second name", "pipe"])
def test_a_part_that_is_not_ours_is_not_written(tmp_path, good, kind):
    """Nor taken for the beginning of the file."""
    mine, part = tmp_path / "mine.txt", part_of(tmp_path)
    mine.write_bytes(ARCHIVE[:100])
    if kind == "link":
        part.symlink_to(mine)
    elif kind == "dangling link":
        part.symlink_to(tmp_path / "nowhere")
    elif kind == "second name":
        os.link(mine, part)
    else:
        os.mkfifo(part)
    assert get(tmp_path, good.address).read_bytes() == ARCHIVE
    assert mine.read_bytes() == ARCHIVE[:100]
    assert not (tmp_path / "nowhere").exists()
    assert b"Range:" not in good.requests[0]


def test_a_link_put_there_in_between_is_not_followed(tmp_path):
    mine, part = tmp_path / "mine.txt", part_of(tmp_path)
    mine.write_bytes(b"mine")
    part.symlink_to(mine)
    with pytest.raises(UserError, match=r"images\.gz\.part: cannot write"):
        download._open_part(part, append=True)
    assert mine.read_bytes() == b"mine"


def test_a_part_that_is_too_long_is_begun_anew(tmp_path, good):
    part_of(tmp_path).write_bytes(bytes(10_000_000))
    assert get(tmp_path, good.address).read_bytes() == ARCHIVE


def test_a_gz_bomb_from_a_mirror(tmp_path, good):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    content = b"".join(packer.compress(bytes(10_000_000)) for _ in range(6)) + packer.flush()
    assert len(content) < dataset().files[0].most_bytes
    answer = OK + f"Content-Length: {len(content)}\r\n\r\n".encode() + content
    bad_then_good(tmp_path, lambda connection, _: connection.sendall(answer), good)
    path = tmp_path / "SET" / "raw" / NAME
    path.write_bytes(content)
    (check,) = verify(dataset(), tmp_path)
    assert (check.status, check.detail) == ("corrupt", "more than the 60,000 bytes of the content")


WAITS = "another process is downloading"


def test_two_processes_do_not_collide(tmp_path):
    """Both are given the whole file, one download serves, and the one that waits says so."""
    gate = threading.Event()

    def answer(connection: socket.socket, number: int) -> None:
        connection.sendall(OK + f"Content-Length: {len(ARCHIVE)}\r\n\r\n".encode() + ARCHIVE[:1000])
        gate.wait(20)
        connection.sendall(ARCHIVE[1000:])

    with serving(answer) as server:
        code = (
            "import sys\nfrom pathlib import Path\n"
            "from regulab.data import Dataset\nfrom regulab.data.fetching import fetch\n"
            "file = fetch.RemoteFile(name='images.gz', folder='SET/raw', mirrors=(sys.argv[1],), content_bytes=60000,"
            " sha256=sys.argv[3])\n"
            "made = Dataset(name='made', summary='-', source='-', load=print, files=(file,))\n"
            "print(*fetch.fetch(made, Path(sys.argv[2]), lambda *event: None, tell=print))"
        )
        digest = hashlib.sha256(CONTENT).hexdigest()
        command = [sys.executable, "-u", "-c", code, server.address, str(tmp_path), digest]
        said = [tmp_path / f"said-{number}.txt" for number in range(2)]
        both = [_started(command, file) for file in said]
        for _ in range(400):  # until one downloads and the other waits for it
            if server.requests and any(WAITS in file.read_text() for file in said):
                break
            time.sleep(0.05)
        gate.set()
        for process in both:
            process.wait(timeout=30)
    lines = [file.read_text().splitlines() for file in said]
    path = tmp_path / "SET" / "raw" / NAME
    assert [process.returncode for process in both] == [0, 0]
    assert [line[-1] for line in lines] == [str(path)] * 2
    assert path.read_bytes() == ARCHIVE
    assert len(server.requests) == 1
    waited = [line for line in lines if WAITS in line[0]]
    assert len(waited) == 1


def _started(command: list[str], said: Path) -> subprocess.Popen:
    with said.open("wb") as out:
        return subprocess.Popen(command, stdout=out)


def test_without_permission_it_is_exit_code_2(tmp_path, monkeypatch, good):
    monkeypatch.setattr("regulab.data.find_dataset", lambda name: dataset(good.address))

    def denied(*_arguments, **_options):
        raise PermissionError(13, "Permission denied", str(tmp_path / "SET"))

    def answer(command: str):
        return CliRunner().invoke(app, ["data", command, "made", "--data-root", str(tmp_path)])

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", denied)
        found = answer("fetch")
        assert (found.exit_code, "SET: cannot write: Permission denied" in found.stderr) == (2, True)
    get(tmp_path, good.address)
    with monkeypatch.context() as patch:
        patch.setattr("regulab.data.fetching.remote_file.gzip.open", denied)
        for command in ("verify", "fetch"):
            found = answer(command)
            assert (found.exit_code, f"{NAME}: cannot read the file (Permission denied)" in found.stderr) == (
                2,
                True,
            )


def test_registered_sizes(tmp_path):
    """Those of MNIST's files, as its page lists them."""
    from regulab.data import datasets

    for name in ("mnist", "fashion_mnist", "kmnist"):
        sizes = {file.name[:12]: file.content_bytes for file in datasets()[name].files}
        assert sizes == {
            "train-images": 47_040_016,
            "train-labels": 60_008,
            "t10k-images-": 7_840_016,
            "t10k-labels-": 10_008,
        }
