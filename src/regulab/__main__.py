"""The program ``regulab``, also as ``python -m regulab``."""

from regulab.process import signals


def main() -> None:
    """Takes over the signals first: the imports of the commands take a quarter of a second."""
    signals.catch()
    from regulab.cli import main as run

    run()


if __name__ == "__main__":
    main()
