"""What can be compared beside the columns of the results: names, and what each of them needs of the records."""

from __future__ import annotations

from regulab.errors import UserError
from regulab.records import MOST_PROBABILITIES

BALANCED = "balanced_accuracy"
NLL, ECE, BRIER = "nll", "ece", "brier"
TOP_K = {f"top_{k}_accuracy": k for k in (2, 3, 5)}
OF_ALL_CLASSES = (BRIER, *TOP_K)  # need the probabilities of all classes, not of the predicted one alone
COLUMN_OF = {NLL: "test_loss"}  # other names of a column of the results
NAMES_ITS_MARGIN = ("test_loss", NLL, BRIER)  # in units of its own, so that no margin is the usual one


def refuse_idle_top_k(metric: str, classes: int, where: str = "") -> None:
    """Raises `UserError` where every answer is among the k most probable."""
    k = TOP_K.get(metric, 0)
    if k >= classes:
        raise UserError(
            f"{metric} of {classes} classes is 100 % whatever a network says",
            got=metric,
            expected=f"more than {k} classes",
            where=where,
            cure="test_accuracy or nll tell networks of so few classes apart",
        )


def refuse_endpoint(metric: str, classes: int, test_images: int) -> None:
    """Raises `UserError` where a study could not be judged by its endpoint for the images that it has."""
    refuse_idle_top_k(metric, classes, "endpoint.metric")
    if metric in OF_ALL_CLASSES and test_images * classes > MOST_PROBABILITIES:
        raise UserError(
            f"{metric} needs the probabilities of all classes, which are not kept of so many",
            got=f"{test_images:,} test images × {classes:,} classes",
            expected=f"{MOST_PROBABILITIES:,} numbers a run at most",
            where="endpoint.metric",
            cure="nll and test_accuracy do not need them",
        )
