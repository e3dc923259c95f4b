"""How many images a second: what others do, beside regulab's plain loop and fleets.

Every contender trains cnn10k on MNIST with batches of 128, dropout 0.05 and rotations within ±7°, in a
process of its own; they take turns for several rounds, so that noise of the machine hits all of them.
Counted are model-images per second = images × runs ÷ wall-clock, over training steps alone: loading and
augmenting batches, forward, backward, update. One short epoch before the clock starts is left out for all
alike (loader workers, kernels, compilers and memory get going), and nobody validates or saves. The share of the
machine's matrix-product peak is that of its arithmetic: two operations for each multiplication of a convolution or
a linear layer, forward, and again for each gradient that is needed.

    pip install -e '.[peers]'
    python benchmarks/throughput.py
    python benchmarks/throughput.py --level avx2
    python benchmarks/throughput.py --device cuda --steps 390
    python benchmarks/machines.py

The result is a file of its own, benchmarks/results/throughput-MACHINE-LEVEL-DATE, and none is ever overwritten. With
``--level`` all contenders alike compute with older instructions (`levels.py`); ``machines.py`` puts all machines on one
page.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dated
import levels

if TYPE_CHECKING:
    from regulab.config import Study
    from regulab.data import Images, Splits
    from regulab.training.trainer import Trainer

BATCH_SIZE, DROPOUT, DEGREES = 128, 0.05, 7.0
NOTEBOOK = "notebook"
OURS = ("plain", "fleet", "planned")
MATRIX = {"cpu": 2048, "cuda": 8192}  # rows of the matrices whose product is the yardstick


@dataclass(frozen=True)
class Contender:
    """One way to train; ``arms`` are those of the built-in study."""

    text: str
    engine: str  # a peer, plain, fleet, or planned: fleets as a study divides its runs, in turn
    precision: str
    arms: tuple[str, ...] = ("none",)
    seeds: int = 1
    kernels: bool = True  # of ours, where they can be had

    @property
    def runs(self) -> int:
        return len(self.arms) * self.seeds


STUDY: dict[str, Any] = {
    "name": "throughput",
    "data": {"name": "mnist", "augment": {"rotate": DEGREES}},
    "model": {"name": "cnn10k", "norm": "batch", "dropout": DROPOUT},
}
FOUR_ARMS = ("none", "l1", "l2", "l1+l2")
CONTENDERS = {
    NOTEBOOK: Contender("notebook-style loop: DataLoader, PIL, eager", NOTEBOOK, "fp32"),
    "memory": Contender("plain PyTorch, arrays in memory, eager", "memory", "fp32"),
    "lightning": Contender("PyTorch Lightning, the notebook's loader", "lightning", "fp32"),
    "keras": Contender("Keras 3 on JAX, arrays in memory", "keras", "fp32"),
    "plain-fp32": Contender("regulab, plain loop", "plain", "fp32"),
    "plain-auto": Contender("regulab, plain loop", "plain", "auto"),
    "fleet-1-fp32": Contender("regulab, fleet of one run", "fleet", "fp32"),
    "fleet-1-auto": Contender("regulab, fleet of one run", "fleet", "auto"),
    "fleet-4-fp32": Contender("regulab, fleet of the four arms", "fleet", "fp32", FOUR_ARMS),
    "fleet-4-layers": Contender(
        "regulab, the four arms, without kernels", "fleet", "auto", FOUR_ARMS, kernels=False
    ),
    "fleet-4-auto": Contender("regulab, fleet of the four arms", "fleet", "auto", FOUR_ARMS),
    "fleet-8-auto": Contender("regulab, four arms × 2 seeds", "fleet", "auto", FOUR_ARMS, seeds=2),
    "fleet-16-auto": Contender("regulab, four arms × 4 seeds", "fleet", "auto", FOUR_ARMS, seeds=4),
    "fleet-40-auto": Contender(
        "regulab, four arms × 10 seeds, one fleet", "fleet", "auto", FOUR_ARMS, seeds=10
    ),
    "planned-40-auto": Contender(
        "regulab, the same in ten fleets, as in a study", "planned", "auto", FOUR_ARMS, seeds=10
    ),
    "fleet-128-auto": Contender(
        "regulab, four arms × 32 seeds, one fleet", "fleet", "auto", FOUR_ARMS, seeds=32
    ),
}
GPU_ONLY = ("fleet-128-auto",)  # unless asked for
CPU_ONLY = ("keras",)  # the extra's jax knows no GPU


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One contender in one round."""

    contender: str
    precision: str  # fp32 or bf16, what auto came to
    runs: int
    images: int  # for each run, in the measured steps
    seconds: float
    gflops: float  # of the arithmetic of one image in one run, forward and backward
    matrix_gflops: float  # per second, the largest that a product of two matrices reached in this process
    peak_mib: float  # resident memory of the process, its highest
    worker_mib: float  # the same of its largest loader worker, with pages that it shares; 0 without workers
    device_mib: float = 0.0  # of a GPU, the most that was allocated
    environment: dict[str, Any]

    @property
    def rate(self) -> float:
        """Model-images per second."""
        return self.images * self.runs / self.seconds

    @property
    def share(self) -> float:
        """Of the matrix-product peak of its precision, in percent."""
        return 100 * self.rate * self.gflops / self.matrix_gflops


@dataclass(frozen=True, kw_only=True)
class Row:
    """One contender over all rounds, figures rounded as they are printed; the ratio is of those."""

    contender: str
    text: str
    precision: str
    runs: int
    rate: int  # median
    lowest: int
    highest: int
    ratio: float  # of the medians, to the notebook-style loop's
    share: float  # of the matrix-product peak, in percent, median
    peak_mib: int
    worker_mib: int
    device_mib: int


def measure(name: str, steps: int, l1: float, device: str) -> Measurement:
    """Trains one short epoch of ``steps`` steps unmeasured and two measured, in this process."""
    import torch

    from regulab.config import build_study
    from regulab.data import data_root, load
    from regulab.training.environment import describe
    from regulab.training.machine import choose_machine, exact_arithmetic, process_settings

    contender = CONTENDERS[name]
    arms = {"none": {}, "l1": {"l1": 1e-4}, "l2": {"l2": 1e-4}, "l1+l2": {"l1": 1e-4, "l2": 1e-4}}
    content = STUDY | {
        "train": {"batch_size": BATCH_SIZE, "precision": contender.precision},
        "arms": {arm: arms[arm] for arm in contender.arms},
        "seeds": contender.seeds,
    }
    machine = choose_machine(device, contender.precision)
    study = build_study(content)
    splits = load(study.data, study.protocol, data_root(None))
    with exact_arithmetic():  # fp32 means the same for all, on a GPU too
        if contender.engine in OURS:
            with process_settings():
                seconds = _time_trainer(study, splits, contender, steps, device)
        else:
            seconds = _time_peer(contender.engine, splits.train, steps, l1, device)
        matrix_gflops = matrix_peak(machine.precision, device)
    peak_mib, worker_mib = _mib(resource.RUSAGE_SELF), _mib(resource.RUSAGE_CHILDREN)
    device_mib = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0.0
    return Measurement(
        contender=name,
        precision=machine.precision,
        runs=contender.runs,
        images=2 * steps * BATCH_SIZE,
        seconds=seconds,
        gflops=arithmetic(28, 28) / 1e9,
        matrix_gflops=matrix_gflops,
        peak_mib=peak_mib,
        worker_mib=worker_mib if contender.engine in (NOTEBOOK, "lightning") else 0,
        device_mib=device_mib,
        environment={**describe(machine, splits), "level": levels.here(device)},
    )


def _time_trainer(study: Study, splits: Splits, contender: Contender, steps: int, device: str) -> float:
    from regulab.training.batches import ImageTensors
    from regulab.training.loop import Job, make_trainer
    from regulab.training.planning import plan_fleets
    from regulab.training.setup import set_up

    setup, count = set_up(study, splits, device), steps * BATCH_SIZE
    train = ImageTensors(setup.images.pixels[:count], setup.images.labels[:count])
    machine = replace(setup.machine, kernels=setup.machine.kernels and contender.kernels)
    short = replace(setup, images=train, machine=machine)
    if contender.engine == "planned":
        jobs = [Job(plan, short) for plan in plan_fleets(short, study.seeds)]
        trainers = [make_trainer(job.plan.engine, short, job.runs) for job in jobs]
    else:
        trainers = [make_trainer(contender.engine, short, short.runs())]
    _train(trainers, 1)
    start = time.perf_counter()
    _train(trainers, 2)
    _train(trainers, 3)
    return time.perf_counter() - start


def _train(trainers: Sequence[Trainer], epoch: int) -> None:
    """One epoch of each, whose losses are read: a GPU is then done."""
    for trainer in trainers:
        trainer.train_epoch(epoch).loss.tolist()


def _time_peer(peer: str, train: Images, steps: int, l1: float, device: str) -> float:
    if peer == "keras":
        from peers import keras_jax

        return keras_jax.seconds(
            train.pixels[..., 0],
            train.labels,
            batch_size=BATCH_SIZE,
            dropout=DROPOUT,
            degrees=DEGREES,
            steps=steps,
            epochs=2,
        )
    from peers import notebook_style

    dataset = notebook_style.RotatedImages(train.pixels[..., 0], train.labels, DEGREES)
    if peer == "lightning":
        from peers import lightning_style

        return lightning_style.seconds(
            dataset,
            batch_size=BATCH_SIZE,
            dropout=DROPOUT,
            unmeasured=steps,
            measured=2 * steps,
            device=device,
        )
    model = notebook_style.Net(DROPOUT)
    if peer == NOTEBOOK:
        losses = notebook_style.training_steps(model, dataset, batch_size=BATCH_SIZE, l1=l1, device=device)
    else:
        import torch
        from peers import in_memory

        pixels, labels = torch.from_numpy(train.pixels[..., 0]), torch.from_numpy(train.labels)
        losses = in_memory.training_steps(
            model.to(device), pixels.to(device), labels.to(device), batch_size=BATCH_SIZE, degrees=DEGREES
        )
    for _ in range(steps):
        next(losses)
    start = time.perf_counter()
    for _ in range(2 * steps):
        next(losses)
    seconds = time.perf_counter() - start
    losses.close()  # the workers end, so that their memory is known
    return seconds


def arithmetic(height: int, width: int) -> int:
    """Operations that cnn10k needs for one image of one channel: a multiplication and its addition count as two.

    Forward, then the gradient of every weight, then that of every layer's input but the image.
    """
    import torch

    from regulab import models
    from regulab.config import Model
    from regulab.streams import Streams

    total = 0

    def count(layer: Any, inputs: Any, output: Any) -> None:
        nonlocal total
        products = output[0].numel() * layer.weight[0].numel()
        total += 2 * products * (2 if inputs[0].shape[1] == 1 else 3)

    module = models.build(Model(), 1, 10, Streams("arithmetic", 0)).eval()
    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(count)
    module(torch.zeros(1, 1, height, width))
    return total


def matrix_peak(precision: str, device: str, repeats: int = 12) -> float:
    """Billions of operations a second of the fastest of some products of two square matrices, all threads."""
    import torch

    dtype, size = torch.bfloat16 if precision == "bf16" else torch.float32, MATRIX[device]
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in "ab")
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        product = torch.mm(left, right)
        if device == "cuda":
            product[0, 0].item()  # waits until it is there
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def _mib(who: int) -> float:
    peak = resource.getrusage(who).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def summarize(measurements: Sequence[Measurement]) -> list[Row]:
    """A row for each contender; needs one measurement of the notebook-style loop at least."""
    by_contender: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        by_contender.setdefault(measurement.contender, []).append(measurement)
    yardstick = round(statistics.median(m.rate for m in by_contender[NOTEBOOK]))
    rows = []
    for name, own in by_contender.items():
        rates = [m.rate for m in own]
        median = round(statistics.median(rates))
        rows.append(
            Row(
                contender=name,
                text=CONTENDERS[name].text,
                precision=own[0].precision,
                runs=own[0].runs,
                rate=median,
                lowest=round(min(rates)),
                highest=round(max(rates)),
                ratio=round(median / yardstick, 2),
                share=round(statistics.median(m.share for m in own), 1),
                peak_mib=round(max(m.peak_mib for m in own)),
                worker_mib=round(max(m.worker_mib for m in own)),
                device_mib=round(max(m.device_mib for m in own)),
            )
        )
    return rows


def markdown(rows: Sequence[Row], conditions: Sequence[str]) -> str:
    lines = [
        "# Throughput of training",
        "",
        *conditions,
        "",
        "| contender | precision | runs | model-images/s, median (range) | ratio | % of matrix peak | memory, MiB |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        memory = f"{row.peak_mib}" + (f" + 2 × {row.worker_mib}" if row.worker_mib else "")
        memory += f"; GPU {row.device_mib}" if row.device_mib else ""
        lines.append(
            f"| {row.text} | {row.precision} | {row.runs} "
            f"| {row.rate:,} ({row.lowest:,} to {row.highest:,}) | {row.ratio:.2f} | {row.share:.1f} | {memory} |"
        )
    lines += [
        "",
        "model-images/s = images × runs ÷ wall-clock of the training steps; the ratio is to the first row. The",
        "share is of the fastest product of two square matrices of that precision in the same process.",
        "Memory is the highest resident size; the second figure is a loader worker's, in which pages that it",
        "shares with its parent count again. PIL rotates to the nearest pixel, the others bilinearly.",
    ]
    return "\n".join(lines) + "\n"


def describe_conditions(
    environment: dict[str, Any], command: str, rounds: int, steps: int, load: float
) -> list[str]:
    versions = ", ".join(f"{name} {environment['libraries'][name]}" for name in ("torch", "numpy"))
    now = datetime.datetime.now(datetime.UTC)
    commit = environment["commit"] or "an unknown commit"
    return [
        f"- {now:%Y-%m-%d %H:%M} UTC; {environment['processor']}, {os.cpu_count()} cores, "
        f"{environment['threads']} threads, instructions up to {environment['level']}; {environment['platform']}",
        f"- Python {environment['python']}, {versions}, regulab {environment['regulab']} at {commit}",
        f"- cnn10k on MNIST ({environment['train_images']:,} training images), batch {BATCH_SIZE}, "
        f"dropout {DROPOUT}, rotation within ±{DEGREES:g}°",
        f"- n = {rounds} rounds in turn, each in a new process: {steps} steps unmeasured, then {2 * steps}",
        f"- load average before the start {load:.1f}; {levels.settings_said()}",
        f"- `{command}`",
    ]


def run_contender(name: str, steps: int, l1: float, device: str) -> Measurement:
    command = [sys.executable, __file__, "--contender", name, "--steps", str(steps)]
    command += ["--notebook-l1", str(l1), "--device", device]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if answer.returncode:
        sys.exit(f"{name} failed, see above")
    return Measurement(**json.loads(answer.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, help="these and the notebook-style loop")
    parser.add_argument(
        "--steps", type=int, default=40, help="one unmeasured and two measured epochs of so many"
    )
    parser.add_argument("--device", choices=MATRIX, default="cpu")
    parser.add_argument(
        "--notebook-l1", type=float, default=0.0, help="λ of an L1 term in the notebook-style loop"
    )
    parser.add_argument(
        "--level",
        choices=levels.SETTINGS,
        help="all contenders with these instructions at most, on a processor",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="a Markdown file that is not there yet, and every measurement in a .json beside it; by default "
        "results/throughput-MACHINE-LEVEL-DATE.md",
    )
    parser.add_argument(
        "--contender", choices=CONTENDERS, help="measure only this one, here; print it as JSON"
    )
    arguments = parser.parse_args()
    if arguments.contender:
        found = measure(arguments.contender, arguments.steps, arguments.notebook_l1, arguments.device)
        print(json.dumps(asdict(found)))
        return
    try:
        if arguments.level is not None and arguments.device != "cpu":
            parser.error("--level is of processors")
        os.environ.update(levels.forced(arguments.level) if arguments.level is not None else {})
        machine = levels.as_word(levels.machine_name(arguments.device))
        out = dated.place(arguments.out, "throughput", machine, levels.here(arguments.device))
    except (ValueError, FileExistsError) as problem:
        parser.error(str(problem))
    load = os.getloadavg()[0]
    measurements = []
    left_out = CPU_ONLY if arguments.device == "cuda" else GPU_ONLY
    if arguments.device == "cuda" and set(arguments.only or ()) & set(CPU_ONLY):
        parser.error(f"not on a GPU: {', '.join(CPU_ONLY)}")
    wanted = arguments.only or [name for name in CONTENDERS if name not in left_out]
    chosen = [name for name in CONTENDERS if name in (NOTEBOOK, *wanted)]
    for turn in range(arguments.rounds):
        for name in chosen:
            found = run_contender(name, arguments.steps, arguments.notebook_l1, arguments.device)
            print(f"round {turn + 1}, {name}: {found.rate:,.0f} model-images/s", file=sys.stderr, flush=True)
            measurements.append(found)
    command = shlex.join(["python", "benchmarks/throughput.py", *sys.argv[1:]])
    conditions = describe_conditions(
        measurements[0].environment, command, arguments.rounds, arguments.steps, load
    )
    page = markdown(summarize(measurements), conditions)
    print(page, end="")
    figures = json.dumps([asdict(found) for found in measurements], indent=1, ensure_ascii=False)
    dated.write(out, page, figures + "\n")
    print(f"written: {out}", file=sys.stderr)


if __name__ == "__main__":
    main()
