"""The program ``regulab``, also as ``python -m regulab``."""

from regulab.process import signals


def main() -> None:
    """Exits with the command's exit code, or with 1 where results could not be written.

    Takes over the signals first: the imports of the commands take a tenth of a second.
    """
    signals.catch()
    import sys
    import warnings

    from regulab.cli import app
    from regulab.cli.exits import FAULT, failure
    from regulab.process import outputs

    results = outputs.secure()
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    code: object = 0
    try:
        app(prog_name="regulab")
    except SystemExit as end:
        code = end.code
    outputs.flush()
    signals.ignore()
    if results.lost is not None and not code:
        code = FAULT
        if not isinstance(results.lost, BrokenPipeError):  # a reader that left, as `head` does, needs no word
            problem = f"the results could not be written: {results.lost.strerror}"
            print(failure(problem, "stdout"), file=sys.stderr)
    sys.exit(code)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
