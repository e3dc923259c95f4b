"""``regulab doctor``: what this machine has, and whether fleets trained here equal the plain loop."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from regulab.cli.exits import FAULT, guarded
from regulab.process import signals

if TYPE_CHECKING:
    from regulab.cli.findings import Finding


@guarded
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of lines.")] = False,
) -> None:
    """Say what this machine has, and test in about 20 seconds that training works here."""
    from regulab.cli.findings import Status
    from regulab.data.reading_shown import reading_shown

    findings = []
    with signals.unwinding(), reading_shown(None, lambda text: _aside(text, quiet=as_json)):
        for finding in _everything(quiet=as_json):
            findings.append(finding)
            if not as_json:
                print(f"{finding.status:6}  {finding.name:27}  {finding.detail}", flush=True)
    failed = [finding.name for finding in findings if finding.status is Status.FAILED]
    if as_json:
        content = {"ok": not failed, "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        print(f"failed: {', '.join(failed)}" if failed else "all is well")
    if failed:
        raise typer.Exit(FAULT)


def _everything(*, quiet: bool) -> Iterator[Finding]:
    from regulab.cli.findings import kernels_work, machine
    from regulab.cli.self_test import self_test

    yield from machine()
    _aside("self-test: about 20 seconds", quiet=quiet)
    yield from kernels_work()
    yield from self_test()


def _aside(text: str, *, quiet: bool) -> None:
    if not quiet:
        print(text, file=sys.stderr, flush=True)
