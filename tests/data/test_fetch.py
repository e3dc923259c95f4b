import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regulab.data import Dataset, find_dataset
from regulab.data.fetching.fetch import FetchError, RemoteFile, fetch, verify
from regulab.errors import UserError

CONTENT = np.random.default_rng(0).bytes(300_000)
ARCHIVE = gzip.compress(CONTENT, mtime=0)
NAME = "images.gz"


class Mirror:
    """A web server on this machine that serves one file, well or badly, and remembers the requests."""

    def __init__(self, body: bytes = ARCHIVE) -> None:
        self.body = body
        self.ranges: list[str | None] = []
        self.knows_ranges = True
        self.says_length = True
        self.cuts: list[int] = []  # bytes after which the next answers break off
        self.states: list[int] = []  # HTTP states of the next answers, in place of the file
        self.range_answer: Callable[[int], str] = lambda start: (
            f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
        )
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        if self.states:
            request.send_error(self.states.pop(0))
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.knows_ranges else 0
        if start >= len(self.body):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(self.body)}")
            request.end_headers()
            return
        body = self.body[start:]
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", self.range_answer(start))
        if self.says_length:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)


@contextmanager
def running(mirror: Mirror) -> Iterator[Mirror]:
    mirror.thread.start()
    try:
        yield mirror
    finally:
        mirror.server.shutdown()
        mirror.thread.join()
        mirror.server.server_close()


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with running(Mirror()) as server:
        yield server


@pytest.fixture
def second() -> Iterator[Mirror]:
    with running(Mirror()) as server:
        yield server


@pytest.fixture
def nowhere() -> str:
    """An address where nothing listens."""
    mirror = Mirror()
    mirror.server.server_close()
    return mirror.address


def dataset(*mirrors: str, md5: str | None = None) -> Dataset:
    sha256 = hashlib.sha256(CONTENT).hexdigest() if md5 is None else None
    file = RemoteFile(
        name=NAME, folder="SET/raw", mirrors=mirrors, content_bytes=len(CONTENT), sha256=sha256, md5=md5
    )
    return Dataset(name="made", summary="a made one", source="here", load=lambda root: None, files=(file,))


def get(root: Path, made: Dataset, seen: list | None = None) -> Path:
    report = (lambda *event: None) if seen is None else (lambda *event: seen.append(event))
    (path,) = fetch(made, root, report, pause=0.001)
    return path


def leave_part(root: Path, content: bytes) -> Path:
    part = root / "SET" / "raw" / (NAME + ".part")
    part.parent.mkdir(parents=True)
    part.write_bytes(content)
    return part


def test_a_file_arrives_whole_with_progress(tmp_path, mirror):
    seen: list[Any] = []
    path = get(tmp_path, dataset(mirror.address), seen)
    assert path == tmp_path / "SET" / "raw" / NAME
    assert path.read_bytes() == ARCHIVE
    assert [entry.name for entry in path.parent.iterdir()] == [NAME]
    names, done, totals = zip(*seen, strict=True)
    assert set(names) == {NAME}
    assert set(totals) == {len(ARCHIVE)}
    assert list(done) == sorted(set(done))
    assert done[-1] == len(ARCHIVE)


def test_what_is_there_and_right_is_not_fetched_again(tmp_path, mirror):
    made = dataset(mirror.address)
    get(tmp_path, made)
    get(tmp_path, made)
    assert len(mirror.ranges) == 1


def test_another_gzip_wrapper_or_the_unpacked_file_will_do(tmp_path, mirror):
    path = tmp_path / "SET" / "raw" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(CONTENT, 1, mtime=77))
    made = dataset(mirror.address)
    assert get(tmp_path, made) == path
    path.unlink()
    path.with_suffix("").write_bytes(CONTENT)
    assert get(tmp_path, made) == path.with_suffix("")
    assert mirror.ranges == []


def test_a_corrupt_file_is_replaced(tmp_path, mirror):
    path = tmp_path / "SET" / "raw" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(ARCHIVE[:-9])
    assert get(tmp_path, dataset(mirror.address)).read_bytes() == ARCHIVE


def test_an_interrupted_download_goes_on(tmp_path, mirror):
    leave_part(tmp_path, ARCHIVE[:123_457])
    seen: list[Any] = []
    assert get(tmp_path, dataset(mirror.address), seen).read_bytes() == ARCHIVE
    assert mirror.ranges == ["bytes=123457-"]
    assert seen[0][1] > 123_457
    assert seen[-1] == (NAME, len(ARCHIVE), len(ARCHIVE))


def test_a_server_without_ranges_sends_all_of_it(tmp_path, mirror):
    mirror.knows_ranges = False
    leave_part(tmp_path, ARCHIVE[:1000])
    assert get(tmp_path, dataset(mirror.address)).read_bytes() == ARCHIVE


def test_cut_connections_are_taken_up_where_they_broke(tmp_path, mirror):
    mirror.cuts = [70_000, 0, 50_000, 1]
    assert get(tmp_path, dataset(mirror.address)).read_bytes() == ARCHIVE
    assert mirror.ranges == [None, *(f"bytes={n}-" for n in (70_000, 70_000, 120_000, 120_001))]


def test_cut_connections_without_ranges_end_well_too(tmp_path, mirror):
    mirror.knows_ranges = False
    mirror.cuts = [70_000, 60_000]
    assert get(tmp_path, dataset(mirror.address)).read_bytes() == ARCHIVE


def test_a_mirror_that_brings_nothing_is_left_after_some_attempts(tmp_path, mirror, second):
    mirror.cuts = [1000] + [0] * 50
    assert get(tmp_path, dataset(mirror.address, second.address)).read_bytes() == ARCHIVE
    assert len(mirror.ranges) == 5
    assert second.ranges == ["bytes=1000-"]


def test_a_cut_that_no_length_betrays_is_found_by_the_content(tmp_path, mirror, second):
    mirror.says_length = False
    mirror.cuts = [9999]
    seen: list[Any] = []
    assert get(tmp_path, dataset(mirror.address, second.address), seen).read_bytes() == ARCHIVE
    assert seen[0][2] is None
    assert second.ranges == [None]


def test_a_whole_partial_file_is_taken(tmp_path, mirror):
    part = leave_part(tmp_path, ARCHIVE)
    assert get(tmp_path, dataset(mirror.address)).read_bytes() == ARCHIVE
    assert mirror.ranges == [f"bytes={len(ARCHIVE)}-"]
    assert not part.exists()


def test_a_partial_file_that_is_too_long_is_dropped(tmp_path, mirror):
    leave_part(tmp_path, ARCHIVE + b"more")
    assert get(tmp_path, dataset(mirror.address)).read_bytes() == ARCHIVE
    assert mirror.ranges == [f"bytes={len(ARCHIVE) + 4}-", None]


def test_a_partial_file_of_something_else_costs_one_more_try(tmp_path, mirror):
    leave_part(tmp_path, b"x" * 5000)
    assert get(tmp_path, dataset(mirror.address)).read_bytes() == ARCHIVE
    assert mirror.ranges == ["bytes=5000-", None]


def test_other_bytes_than_asked_for_are_not_appended(tmp_path, mirror, second):
    mirror.range_answer = lambda start: "bytes 7-99/100"
    leave_part(tmp_path, ARCHIVE[:5000])
    assert get(tmp_path, dataset(mirror.address, second.address)).read_bytes() == ARCHIVE
    assert second.ranges == ["bytes=5000-"]


@pytest.mark.parametrize(
    "body", [b"<html>moved</html>", gzip.compress(b"another file", mtime=0), ARCHIVE[:-5], b""]
)
def test_a_mirror_with_wrong_content_is_left(tmp_path, mirror, second, body):
    mirror.body = body
    mirror.says_length = bool(body)
    assert get(tmp_path, dataset(mirror.address, second.address)).read_bytes() == ARCHIVE
    assert second.ranges == [None]


def test_passing_errors_are_tried_again_and_lasting_ones_not(tmp_path, mirror, second):
    mirror.states = [503, 429]
    assert get(tmp_path / "a", dataset(mirror.address, second.address)).read_bytes() == ARCHIVE
    assert (len(mirror.ranges), len(second.ranges)) == (3, 0)
    mirror.states = [404]
    assert get(tmp_path / "b", dataset(mirror.address, second.address)).read_bytes() == ARCHIVE
    assert (len(mirror.ranges), len(second.ranges)) == (4, 1)


def test_all_mirrors_failing_names_each_and_why(tmp_path, mirror, second, nowhere):
    mirror.states = [404]
    second.body = b"<html>"
    with pytest.raises(FetchError) as caught:
        get(tmp_path, dataset(nowhere, mirror.address, second.address))
    message = str(caught.value)
    assert f"{nowhere}{NAME}: " in message
    assert "refused" in message
    assert f"{mirror.address}{NAME}: HTTP 404" in message
    assert f"{second.address}{NAME}: wrong content: not a whole gzip file" in message
    assert not (tmp_path / "SET" / "raw" / NAME).exists()


def test_errors_of_the_disk_are_not_the_mirrors(tmp_path, mirror):
    (tmp_path / "SET").write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"SET.*(Not a directory|File exists)"):
        get(tmp_path, dataset(mirror.address))
    assert mirror.ranges == []


def test_a_published_md5_is_of_the_gzip_file(tmp_path, mirror):
    made = dataset(mirror.address, md5=hashlib.md5(ARCHIVE).hexdigest())
    assert get(tmp_path, made).read_bytes() == ARCHIVE
    assert [check.status for check in verify(made, tmp_path)] == ["ok"]
    mirror.body = gzip.compress(CONTENT, 1, mtime=5)
    with pytest.raises(FetchError, match=r"wrong content: MD5 .*compressing anew"):
        get(tmp_path / "b", made)


def test_verify_tells_missing_corrupt_and_unchecked(tmp_path):
    by_content, by_archive = dataset(), dataset(md5=hashlib.md5(ARCHIVE).hexdigest())
    path = tmp_path / "SET" / "raw" / NAME
    path.parent.mkdir(parents=True)

    def status(made: Dataset) -> tuple[str, Path]:
        (check,) = verify(made, tmp_path)
        return check.status, check.path

    assert status(by_content) == status(by_archive) == ("missing", path)
    unpacked = path.with_suffix("")
    unpacked.write_bytes(CONTENT)
    assert status(by_content) == ("ok", unpacked)
    assert status(by_archive) == ("unchecked", unpacked)
    unpacked.write_bytes(CONTENT[:-1])
    assert status(by_content) == ("corrupt", unpacked)
    path.write_bytes(ARCHIVE[:-100])
    assert status(by_content) == status(by_archive) == ("corrupt", path)


def test_nothing_to_fetch_or_verify(tmp_path):
    for act in (
        lambda: verify(find_dataset("digits"), tmp_path),
        lambda: get(tmp_path, find_dataset("digits")),
    ):
        with pytest.raises(UserError, match="no files to download"):
            act()


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_registered_files_are_what_loading_reads(name, tmp_path):
    """Loading from an empty root asks for the first registered file, in the same place."""
    found = find_dataset(name)
    assert len(found.files) == 4
    for file in found.files:
        assert len(file.sha256 or file.md5) == (64 if file.sha256 else 32)
        assert all(mirror.endswith("/") for mirror in file.mirrors)
    with pytest.raises(UserError) as caught:
        found.load(tmp_path)
    assert str(found.files[0].path(tmp_path)) in str(caught.value)


def test_real_mnist_verifies(mnist_root):
    assert [check.status for check in verify(find_dataset("mnist"), mnist_root)] == ["ok"] * 4
