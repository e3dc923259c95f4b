"""The learning rate of a schedule over the steps of a training, from its own ``rate``."""

from __future__ import annotations

from regulab.cli.pictures.canvas import Block, Paper, Polyline, plot
from regulab.schedules.schedule import Moment, Schedule

LR, STEPS, SHOWN = 0.1, 10, 20  # of an epoch; epochs where they are enough
# What validation says where a schedule follows it: it falls, and from the eighth epoch on it does not.
FALLS = 8


def picture(kind: type[Schedule], paper: Paper) -> Block:
    """Of the schedule's defaults, or of its first example where there are none that take effect."""
    values = kind.examples()[0]
    if not any(field.is_required() for field in kind.model_fields.values()):
        values = kind()
    epochs = SHOWN
    while values.without_effect(epochs) is not None and epochs < 1000:
        epochs *= 2
    losses = [1 / min(epoch, FALLS) for epoch in range(1, epochs + 1)]
    rates = []
    for step in range(epochs * STEPS):
        done = losses[: step // STEPS]
        moment = Moment(step=step, steps_per_epoch=STEPS, epochs=epochs, validation_losses=done)
        rates.append(values.rate(LR, moment))
    fields = values.model_dump(exclude_none=True).items()
    said = ", ".join(f"{key} {value}" for key, value in fields if key != "name")
    title = f"rate of {kind.name}" + (f" ({said})" if said else "") + f", lr {LR:g}"
    after = f"epochs; validation improves until epoch {FALLS}" if kind.follows_validation else "epochs"
    places = [step / STEPS for step in range(len(rates))]
    return plot(
        paper,
        [Polyline([0, epochs], [0, 0], reference=True), Polyline(places, rates)],
        title,
        after,
        columns=56,
    )
