"""The benchmark compares like with like, and prints ratios of what it prints."""

import json
import os
import random
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

from regulab import models
from regulab.config import Model
from regulab.models.layers.dropout import ElementDropout
from regulab.streams import Streams
from regulab.training.teaching import Teaching

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import ablation  # noqa: E402
import catalogue  # noqa: E402
import dated  # noqa: E402
import levels  # noqa: E402
import machines  # noqa: E402
import precision  # noqa: E402
import study  # noqa: E402
import throughput  # noqa: E402
from peers import in_memory, notebook_style  # noqa: E402

MNIST = Path(os.environ.get("REGULAB_DATA", "")) / "MNIST" / "raw"
needs_mnist = pytest.mark.skipif(
    "REGULAB_DATA" not in os.environ or not MNIST.is_dir(), reason="REGULAB_DATA names no folder with MNIST"
)


def measurement(contender: str, seconds: float, **changes) -> throughput.Measurement:
    content: dict[str, Any] = {
        "contender": contender,
        "precision": "fp32",
        "runs": 1,
        "images": 1000,
        "seconds": seconds,
    }
    content |= {
        "gflops": 0.01,
        "matrix_gflops": 200.0,
        "peak_mib": 400.0,
        "worker_mib": 0.0,
        "environment": {},
    }
    return throughput.Measurement(**(content | changes))


def same_nets(dropout: float) -> tuple[torch.nn.Module, notebook_style.Net]:
    """cnn10k and the notebook-style net, off their initial values and with equal weights and buffers."""
    ours = models.build(Model(dropout=dropout), 1, 10, Streams("benchmark", 3))
    generator = torch.Generator().manual_seed(5)
    for value in (*ours.parameters(), *ours.buffers()):
        value.data = (value + torch.rand(value.shape, generator=generator) / 4).detach()
    theirs = notebook_style.Net(dropout)
    state = [v for v in theirs.state_dict().values() if v.is_floating_point()]  # without batch counters
    for target, source in zip(state, ours.state_dict().values(), strict=True):
        assert target.shape == source.shape
        target.copy_(source)
    return ours, theirs


def test_the_notebook_style_net_is_cnn10k():
    ours, theirs = same_nets(dropout=0.05)
    x = torch.randn(5, 1, 28, 28, generator=torch.Generator().manual_seed(1))

    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters()) == 9690
    torch.testing.assert_close(theirs.eval()(x), ours.eval()(x), rtol=1e-5, atol=1e-5)


def test_both_nets_train_alike_without_dropout():
    ours, theirs = same_nets(dropout=0.0)
    x = torch.randn(6, 1, 17, 23, generator=torch.Generator().manual_seed(2))

    for net in (ours.train(), theirs.train()):
        net(x).square().mean().backward()

    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(other.grad, mine.grad, rtol=1e-3, atol=1e-4)
    buffers = [b for b in theirs.buffers() if b.is_floating_point()]
    for counted, buffer in zip(ours.buffers(), buffers, strict=True):
        torch.testing.assert_close(buffer, counted, rtol=1e-4, atol=1e-5)


def test_both_nets_drop_at_the_same_places_and_rate():
    ours, theirs = same_nets(dropout=0.3)

    rates = [layer.rate for layer in ours.modules() if isinstance(layer, ElementDropout)]
    assert (
        [layer.p for layer in theirs.modules() if isinstance(layer, torch.nn.Dropout)] == rates == [0.3] * 5
    )


def test_the_l1_term_sums_every_parameter_and_has_gradient_sign():
    net = notebook_style.Net(0.0)
    for p in net.parameters():
        p.data += 0.05  # off zero, where sign is 0
    by_hand = sum(np.abs(p.detach().numpy().astype(np.float64)).sum() for p in net.parameters())

    penalty = notebook_style.l1_penalty(net, 0.25)
    penalty.backward()

    assert penalty.item() == pytest.approx(0.25 * by_hand, rel=1e-5)
    for p in net.parameters():
        torch.testing.assert_close(p.grad, 0.25 * p.detach().sign())


def test_the_dataset_rotates_each_time_and_normalizes_to_mnists_constants():
    pixels = np.zeros((2, 28, 28), np.uint8)
    pixels[:, 4:24, 13:15] = 255  # a vertical bar
    still = notebook_style.RotatedImages(pixels, np.array([7, 1]), degrees=0.0)
    turning = notebook_style.RotatedImages(pixels, np.array([7, 1]), degrees=7.0)

    image, label = still[0]
    expected = (torch.from_numpy(pixels[0]).float()[None] / 255 - 0.1307) / 0.3081
    torch.testing.assert_close(image, expected)
    assert label == 7
    random.seed(4)
    seen = [turning[1][0] for _ in range(20)]
    assert any(not torch.equal(seen[0], other) for other in seen)
    widest = notebook_style.to_tensor(Image.fromarray(pixels[1]).rotate(7)) > 0
    columns = widest.any(1)[0].nonzero()
    touched = torch.stack([(image > 0).any(1)[0] for image in seen]).any(0).nonzero()
    assert columns.min() <= touched.min()
    assert touched.max() <= columns.max()


def test_training_steps_learn_and_go_on_past_an_epoch():
    generator = np.random.default_rng(0)
    labels = np.arange(40) % 2
    pixels = (labels[:, None, None] * 200 + generator.integers(0, 40, (40, 12, 12))).astype(np.uint8)
    dataset = notebook_style.RotatedImages(pixels, labels, 7.0)
    torch.manual_seed(0)

    losses = notebook_style.training_steps(
        notebook_style.Net(0.05), dataset, batch_size=16, l1=0.0, device="cpu"
    )
    found = [next(losses) for _ in range(8)]  # two steps an epoch
    losses.close()

    assert np.mean(found[-2:]) < 0.8 * np.mean(found[:2])


def test_ratios_are_of_medians_as_printed():
    rounds = [
        measurement("notebook", seconds)
        for seconds in (0.5, 0.4, 0.8)  # 2,000, 2,500 and 1,250 a second
    ]
    rounds += [
        measurement("fleet-4-auto", seconds, runs=4, precision="bf16", peak_mib=peak)
        for seconds, peak in ((0.5, 300), (0.25, 350), (1.0, 310))  # 8,000, 16,000 and 4,000
    ]

    notebook, fleet = throughput.summarize(rounds)

    assert (notebook.rate, notebook.lowest, notebook.highest, notebook.ratio) == (2000, 1250, 2500, 1)
    assert (fleet.rate, fleet.lowest, fleet.highest, fleet.ratio) == (8000, 4000, 16000, 4)
    assert (fleet.runs, fleet.precision, fleet.peak_mib) == (4, "bf16", 350)
    page = throughput.markdown([notebook, fleet], ["- here"])
    assert "| bf16 | 4 | 8,000 (4,000 to 16,000) | 4.00 | 40.0 | 350 |" in page


def test_what_is_taken_away_is_compared_with_the_whole():
    rounds = {
        "nothing": [measurement("fleet-4-auto", seconds, runs=4) for seconds in (0.25, 0.5, 1.0)],
        "tiles": [measurement("fleet-4-auto", seconds, runs=4) for seconds in (1.0, 0.8, 0.5)],
    }
    page = ablation.markdown(rounds, ["- here"])
    assert "| nothing | 8,000 (4,000 to 16,000) | 1.00 |" in page
    assert "| 5,000 (4,000 to 8,000) | 0.62 |" in page


@pytest.mark.parametrize("part", ablation.PARTS)
def test_every_part_can_be_taken_away(part, monkeypatch):
    """What is patched exists; the measurement itself is left to the benchmark."""
    monkeypatch.setattr(throughput, "CONTENDERS", dict(throughput.CONTENDERS))
    monkeypatch.setattr(throughput, "STUDY", dict(throughput.STUDY))
    before = (throughput.CONTENDERS[ablation.FLEET], dict(throughput.STUDY))
    try:
        ablation.PARTS[part][1]()
        changed = before != (throughput.CONTENDERS[ablation.FLEET], throughput.STUDY)
        assert changed == (part in ("kernels", "bf16", "sharing", "kernels and bf16"))
    finally:
        mock.patch.stopall()


def test_the_net_in_keras_has_the_same_layers():
    keras_jax = pytest.importorskip("peers.keras_jax", reason="needs the extra `peers`", exc_type=ImportError)

    net = keras_jax.net(0.05, 7.0)
    assert sum(int(np.prod(w.shape)) for w in net.trainable_weights) == 9690
    assert net.output_shape == (None, 10)


def test_the_arithmetic_is_that_of_the_layers():
    convolutions = 28 * 28 * 16 * 9 * 2 + 16 * 9 * 16 * 3 * (
        2 * 14 * 14 + 2 * 7 * 7
    )  # the first needs no input's
    assert throughput.arithmetic(28, 28) == 2 * (convolutions + 3 * 16 * 10)


def test_rotation_in_memory_turns_each_image_and_no_further_than_asked():
    torch.manual_seed(2)
    images = torch.zeros(50, 1, 29, 29)
    images[:, :, 2:27, 14] = 1  # a vertical bar through the centre
    torch.testing.assert_close(in_memory.rotated(images, 0.0), images, rtol=0, atol=1e-5)
    turned = in_memory.rotated(images, 7.0).round(decimals=4)
    assert all(not torch.equal(turned[0], other) for other in turned[1:])
    columns = (turned > 0).any(2).any(1).any(0).nonzero()
    reach = 12.5 * np.sin(np.radians(7)) + 1
    assert 14 - reach <= columns.min() <= columns.max() <= 14 + reach


@pytest.mark.slow
@needs_mnist
def test_a_small_benchmark_prints_what_it_measured(tmp_path):
    out = tmp_path / "throughput.md"
    chosen = ["notebook", "memory", "plain-fp32", "fleet-4-auto", "fleet-8-auto"]
    command = [sys.executable, str(BENCHMARKS / "throughput.py"), "--rounds", "1", "--steps", "3"]
    command += ["--only", *chosen]

    answer = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, check=True)

    assert out.read_text("utf-8") == answer.stdout
    pattern = r"^\| (.*) \| (fp32|bf16) \| (\d) \| ([\d,]+) \([\d,]+ to [\d,]+\) \| ([\d.]+) \|"
    rows = re.findall(pattern, answer.stdout, re.MULTILINE)
    measured = json.loads(out.with_suffix(".json").read_text("utf-8"))
    assert len(rows) == len(measured) == len(chosen)
    yardstick = int(rows[0][3].replace(",", ""))
    for (text, kind, runs, rate, ratio), found in zip(rows, measured, strict=True):
        printed = int(rate.replace(",", ""))
        assert text == throughput.CONTENDERS[found["contender"]].text
        assert (kind, int(runs)) == (found["precision"], found["runs"])
        assert found["images"] == 2 * 3 * 128
        assert printed == round(found["images"] * found["runs"] / found["seconds"])
        assert float(ratio) == round(printed / yardstick, 2)


def test_a_result_is_never_overwritten(tmp_path, monkeypatch):
    monkeypatch.setattr(dated, "RESULTS", tmp_path / "results")
    for number in ("", "-2", "-3"):
        out = dated.place(None, "throughput", "some-cpu", "avx2")
        assert re.fullmatch(rf"throughput-some-cpu-avx2-\d{{4}}-\d\d-\d\d{number}\.md", out.name)
        dated.write(out, "a page\n", "[]\n")
        assert (out.read_text("utf-8"), out.with_suffix(".json").read_text("utf-8")) == ("a page\n", "[]\n")
    with pytest.raises(FileExistsError, match="never overwritten"):
        dated.place(out)
    with pytest.raises(FileExistsError):
        dated.write(out, "another", "{}")
    out.unlink()
    with pytest.raises(FileExistsError, match=r"-3\.json: a result is never overwritten"):
        dated.place(out)  # the figures are still there


def test_the_last_result_of_this_machine_is_found_by_date_and_number(tmp_path, monkeypatch):
    monkeypatch.setattr(levels, "machine_name", lambda device: "Some CPU")
    monkeypatch.setattr(levels, "here", lambda device: "avx512")
    assert machines.last_of_this_machine("cpu", tmp_path) is None
    names = ["some-cpu-avx512-2026-01-02", "some-cpu-avx512-2026-01-02-10", "some-cpu-avx512-2026-01-02-9"]
    for name in (*names, "some-cpu-avx512_bf16-2026-05-01", "other-cpu-avx512-2026-05-01"):
        (tmp_path / f"throughput-{name}.json").touch()
    assert machines.last_of_this_machine("cpu", tmp_path) == tmp_path / f"throughput-{names[1]}.json"


def test_the_page_shows_the_last_of_each_machine_beside_its_own_notebook(tmp_path):
    environment = {"processor": "Some CPU", "commit": "0123456789", "threads": 2, "device": "cpu"}

    def result(date: str, seconds: float) -> None:
        rounds = [measurement("notebook", 0.5), measurement("fleet-4-fp32", seconds, runs=4)]
        rounds += [measurement("fleet-4-auto", seconds / 2, runs=4, precision="bf16")]
        rows = [replace(one, environment=environment) for one in rounds]
        figures = json.dumps([asdict(row) for row in rows])
        dated.write(tmp_path / f"throughput-some-cpu-avx2-{date}.md", "a page", figures)

    result("2026-01-02", 1.0)
    result("2026-03-04", 0.5)
    rates: list[dict[str, Any]] = [
        {"contender": "fleet-4-auto", "precision": "bf16", "rate": 17037, "ratio": 5.9},
        {"contender": "fleet-4-fp32", "precision": "fp32", "ratio": 3.9},
    ]
    about = {"machine": "A", "level": "amx", "date": "2026-02-01", "commit": None, "threads": None}
    noted = {**about, "source": "said", "rates": rates}
    (tmp_path / machines.BY_HAND).write_text(json.dumps([noted]))
    last, _, earlier = machines.page(machines.all_results(tmp_path)).partition("## Earlier")

    assert "| A | amx | – | 2026-02-01 | unknown | – | – | – | – | ? (3.9×) |" in last
    assert "| 17,037 (5.9×) | – | – | by hand: said |" in last
    assert "| Some CPU | avx2 | 2 | 2026-03-04 | 0123456 | 2,000 (1.0×) | – | – | – | 8,000 (4.0×) |" in last
    assert "| 16,000 (8.0×) |" in last
    assert "2026-01-02" not in last
    assert "2026-01-02" in earlier


@pytest.mark.parametrize("name", ["throughput-2026.json", "throughput-x-amx-2026-01-02.json"])
def test_a_file_that_is_no_result_is_refused(name, tmp_path):
    (tmp_path / name).write_text("[]")
    with pytest.raises(ValueError, match="no result"):
        machines.all_results(tmp_path)


def test_the_page_in_the_repository_is_that_of_its_results():
    assert machines.PAGE.read_text("utf-8") == machines.page(machines.all_results(dated.RESULTS))


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ({"sse2"}, "generic"),
        ({"avx2", "fma"}, "avx2"),
        ({"avx512f", "avx512bw", "avx512dq", "avx512vl"}, "generic"),  # no processor: a level has those below
        ({"avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_bf16"}, "avx512_bf16"),
    ],
    ids=["none", "avx2", "without avx2", "avx512_bf16"],
)
def test_a_level_needs_those_below_it(flags, level):
    assert levels.native_level(flags) == level


def test_instructions_are_forced_down_for_all_contenders_and_never_up(monkeypatch):
    monkeypatch.delenv(levels.KERNELS, raising=False)
    monkeypatch.setattr(
        levels, "_flags", lambda: {"avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"}
    )
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert levels.forced("avx2") == {levels.KERNELS: "avx2", **levels.SETTINGS["avx2"]}
    assert levels.forced("none") == {levels.KERNELS: "none"}
    with pytest.raises(ValueError, match="this processor has avx512"):
        levels.forced("amx")
    monkeypatch.setenv(levels.KERNELS, "avx2")
    assert levels.here("cpu") == "avx2"
    assert "REGULAB_KERNELS=avx2" in levels.settings_said()


def test_the_whole_study_is_compared_at_the_rates_that_were_measured():
    measured = study.rates(
        [
            {"contender": "notebook", "images": 1000, "runs": 1, "seconds": seconds}
            for seconds in (0.5, 0.25, 1)
        ]
    )
    assert measured == {"notebook": 2000}
    environment = {"processor": "x", "threads": 2, "precision": "bf16", "regulab": "1", "commit": "c"}
    environment["libraries"] = {"torch": "2"}
    content = {"environment": environment, "date": "d", "command": "c", "minutes": 4.0}
    content |= {"seeds": 1, "throughput": "throughput.md", "picture": "speed"}
    page = study.page(content | {"others": {"notebook": 30.0}})
    assert "| 30.0 | 7.5 |" in page


def test_a_way_is_a_level_and_a_precision(monkeypatch):
    monkeypatch.setattr(levels, "here", lambda device: "avx512")
    found = precision.way("avx2:fp32")
    assert (found.level, found.train, found.folder) == ("avx2", {"precision": "fp32"}, "avx2-fp32")
    assert precision.way(precision.DEFAULT) == precision.Way(precision.DEFAULT, {})
    for wrong in ("avx2", "avx2:fp16", "mmx:fp32", "amx:bf16"):  # the last is above this processor
        with pytest.raises(ValueError, match=wrong.partition(":")[0]):
            precision.way(wrong)


def test_seeds_for_equivalence_follow_the_spread():
    assert precision.seeds_for_equivalence(0.01) == 7
    assert precision.seeds_for_equivalence(0.2) == 44  # (1.645 + 1.645)² · 4 = 43.3


@pytest.mark.parametrize("arm", ["distillation", "SWA", "none"])
def test_the_catalogue_times_what_an_arm_does_late_and_with_a_teacher(arm, monkeypatch):
    monkeypatch.setattr(catalogue, "STEPS", 1)
    timed = catalogue.Timed(catalogue.setup_of(rounds=1), arm)
    taught, see = list[None](), Teaching.see
    monkeypatch.setattr(Teaching, "see", lambda self, x: taught.append(see(self, x)))
    assert timed.seconds() > 0
    assert timed._epoch == 7  # of 8
    assert bool(taught) == (arm == "distillation")
