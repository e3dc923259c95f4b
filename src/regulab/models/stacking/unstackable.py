"""What stacking raises."""


class Unstackable(Exception):  # noqa: N818  (a finding, not a failure)
    """This architecture has a part that no rule stacks; the plain loop trains it."""
