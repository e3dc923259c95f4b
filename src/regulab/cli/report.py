"""``regulab report``: every figure and page of a run directory, made again."""

from __future__ import annotations

from regulab.cli.exits import guarded
from regulab.cli.options import RunFolder
from regulab.process import signals


@guarded
def report(run_dir: RunFolder) -> None:
    """Rebuild every figure, gallery and page of a run directory from its records."""
    from regulab.looking import record_first_look
    from regulab.reporting import write_report
    from regulab.run_directory.writing import RunDirectory, read_records

    with signals.unwinding("give the same command again"), RunDirectory.reopen(run_dir):
        # Locked, else an older report could replace that of a run which just ended.
        write_report(record_first_look(run_dir, read_records(run_dir)), run_dir)
    print(f"report: {run_dir / 'report.html'}")
