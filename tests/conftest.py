"""Fixtures that several folders of tests share."""

from __future__ import annotations

import os
import shutil

if "PYTEST_XDIST_WORKER" in os.environ:  # one process a core: more threads would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

if not torch.cuda.is_available():  # Triton's kernels run in its interpreter; read when Triton is imported
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """No test reads or fills the cache of the person who runs them."""
    os.environ["REGULAB_CACHE"] = str(tmp_path_factory.mktemp("cache"))


FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


@pytest.fixture(scope="session")
def chromium():
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:  # a fresh profile every time
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS), timeout=60_000)
        yield browser
        browser.close()


@pytest.fixture
def without_report(monkeypatch):
    """Whole studies for their records alone: a report takes longer than a small study trains."""
    monkeypatch.setattr("regulab.study.write_report", lambda records, directory: None)
