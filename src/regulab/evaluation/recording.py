"""Recording: what a tested fleet leaves in the run directory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regulab.data.dataset import Images
from regulab.errors import UserError
from regulab.evaluation.misclassified import collect_mistakes
from regulab.evaluation.testing import Tested, with_shared_orders
from regulab.reading import predictions_path
from regulab.records import Result
from regulab.store import RunDirectory
from regulab.training.planning import FleetPlan


def record(store: RunDirectory, fleet: FleetPlan, tested: Sequence[Tested], images: Images) -> None:
    """Writes predictions, weights, mistakes and rows; the rows come last, and with them the fleet counts as done.

    ``images`` is the test split.
    """
    results: list[Result] = list(store.read_results())
    orders = store.read_orders()
    for run_tested in tested:
        result = run_tested.result
        if run_tested.predictions is not None and run_tested.weights is not None:
            store.write_predictions(result.arm, result.seed, run_tested.predictions)
            weights = {name: tensor.cpu().numpy() for name, tensor in run_tested.weights.items()}
            store.write_weights(result.arm, result.seed, weights)
        results.append(result)
        orders[result.arm, result.seed] = run_tested.orders
    predictions = [store.read_predictions(result.arm, result.seed) for result in results]
    for result, found in zip(results, predictions, strict=True):
        if found is not None and not np.array_equal(found.labels, images.labels):
            raise UserError(
                "these predictions are of another test split",
                expected="one test split for all runs of a study",
                where=str(predictions_path(store.path, result.arm, result.seed)),
            )
    store.write_mistakes(collect_mistakes((p for p in predictions if p is not None), images))
    store.write_orders(orders)
    store.write_results(with_shared_orders(results, orders))
    store.delete_checkpoint(fleet.index)
