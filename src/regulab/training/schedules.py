"""Learning-rate schedules: pure functions of the step."""

from __future__ import annotations

import math

from regulab.config import Constant, Cosine, OneCycle, Step, Train


def learning_rate(train: Train, step: int, steps_per_epoch: int) -> float:
    """The rate of one optimizer step, counted from 0 over the whole training of ``epochs · steps_per_epoch`` steps.

    constant:   lr
    step:       lr·factor^⌊epoch/every⌋
    cosine:     linear to lr over the warm-up, then final + (lr − final)·(1 + cos πt)/2, t from 0 towards 1
    one_cycle:  cosine ramps from lr/initial_division up to lr over ``warmup_fraction`` of the steps, and down
                to lr/(initial_division·final_division): torch's OneCycleLR with ``cycle_momentum=False``; where a
                study gives ``max_lr``, that is lr too

    Source: Smith & Topin 2018 (arXiv 1708.07120); Loshchilov & Hutter 2017 (arXiv 1608.03983).
    """
    total = train.epochs * steps_per_epoch
    lr = train.optimizer.lr
    match train.schedule:
        case Constant():
            return lr
        case Step(every=every, factor=factor):
            return lr * factor ** (step // steps_per_epoch // every)
        case Cosine(final_lr=final, warmup=epochs):
            warmup = round(epochs * steps_per_epoch)
            if step < warmup:
                return lr * (step + 1) / warmup
            return _cosine(lr, final, (step - warmup) / max(1, total - warmup))
        case OneCycle(warmup_fraction=fraction, initial_division=initial, final_division=final):
            low, turn = lr / initial, max(fraction * total - 1, 1e-12)
            if step <= turn:
                return _cosine(low, lr, step / turn)
            return _cosine(lr, low / final, (step - turn) / max(1e-12, total - 1 - turn))


def _cosine(start: float, end: float, t: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * t)) / 2
