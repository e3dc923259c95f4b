"""The one exception for what a person got wrong: a command, a study file, a dataset."""


class UserError(Exception):
    """Wrong input from a person. The command line prints it as one message and exits with 2.

    ``got`` and ``expected`` say what was found and what would have been right, ``where`` names
    the file and the key. Errors of the program itself are assertions, never this.
    """

    def __init__(self, problem: str, *, got: object = None, expected: str = "", where: str = "") -> None:
        self.problem, self.got, self.expected, self.where = problem, got, expected, where
        parts = [f"{where}: {problem}" if where else problem]
        if got is not None:
            parts.append(f"got {got!r}" if isinstance(got, str) else f"got {got}")
        if expected:
            parts.append(f"expected {expected}")
        super().__init__("; ".join(parts))
