from regulab.cli.exits import guarded


@guarded
def doctor() -> None:
    """x"""
