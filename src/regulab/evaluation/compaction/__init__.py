"""From exact zeros to a smaller network whose predictions are the same."""

from regulab.evaluation.compaction.compact import Compaction, Held, Width, compact

__all__ = ["Compaction", "Held", "Width", "compact"]
