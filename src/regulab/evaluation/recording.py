"""Recording: what a tested fleet leaves in the run directory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regulab.data.dataset import Images
from regulab.errors import UserError
from regulab.evaluation.misclassified import collect_mistakes
from regulab.evaluation.testing import Tested, with_shared_orders
from regulab.run_directory.checksums import (
    RunChecksums,
    of_bytes,
    of_history,
    of_orders,
    of_predictions,
    of_probabilities,
    of_result,
)
from regulab.run_directory.reading import predictions_path
from regulab.run_directory.writing import RunDirectory
from regulab.training.planning import FleetPlan


def record(store: RunDirectory, fleet: FleetPlan, tested: Sequence[Tested], images: Images) -> None:
    """Writes predictions, weights, mistakes and rows; the rows come last, and with them the fleet counts as done.

    ``images`` is the test split.
    """
    runs = {(one.result.arm, one.result.seed) for one in tested}
    results = [result for result in store.read_results() if (result.arm, result.seed) not in runs]
    orders, history, checksums = store.read_orders(), store.history_of(runs), {}
    for run_tested in tested:
        result, weights_sum, predictions_sum, classes_sum = run_tested.result, None, None, None
        if run_tested.predictions is not None and run_tested.weights is not None:
            store.write_predictions(result.arm, result.seed, run_tested.predictions)
            weights = {name: tensor.cpu().numpy() for name, tensor in run_tested.weights.items()}
            weights_sum = of_bytes(store.write_weights(result.arm, result.seed, weights))
            predictions_sum = of_predictions(run_tested.predictions)
            classes_sum = of_probabilities(run_tested.predictions)
        results.append(result)
        orders[result.arm, result.seed] = run_tested.orders
        checksums[result.arm, result.seed] = RunChecksums(
            history=of_history(history[result.arm, result.seed]),
            result=of_result(result),
            orders=of_orders(run_tested.orders),
            predictions=predictions_sum,
            weights=weights_sum,
            probabilities=classes_sum,
        )
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
    store.write_checksums(checksums)
    store.write_results(with_shared_orders(results, orders))
    store.delete_checkpoint(fleet.index)
