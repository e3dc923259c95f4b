"""The commands: what they take, print and exit with. Real training is a test of `regulab.study`."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from regulab.cli import app
from regulab.cli.arguments import assembled_study
from regulab.cli.run import _print_plan
from regulab.config import Data, Study, builtin_studies
from regulab.errors import UserError
from regulab.run_directory.writing import RunDirectory
from regulab.techniques import TECHNIQUES
from tests.samples import STUDY, epochs, finished_run, result

REGULAB = Path(sys.executable).with_name("regulab")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGULAB_DATA", raising=False)
    monkeypatch.delenv("REGULAB_DEBUG", raising=False)


def invoke(*arguments: str):
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def trained(monkeypatch):
    """Stands in for training: leaves a small run directory, and the arguments it was called with."""
    import regulab.study

    called = SimpleNamespace(study=None, directory=None, options=None, diverged=[], error=None)

    def run(study, directory, **options):
        called.study, called.directory, called.options = study, directory, options
        if called.error is not None:
            raise called.error
        finished_run(directory, study.model_copy(update={"resolved": STUDY.resolved}))
        return SimpleNamespace(
            directory=directory, report=directory / "report.html", diverged=called.diverged, trained=1
        )

    monkeypatch.setattr(regulab.study, "run", run)
    return called


def histories(run_dir: str) -> list[dict]:
    """The lines of the history without the time that they took."""
    lines = map(json.loads, Path(run_dir, "history.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


class TestAssembledStudy:
    def test_without_arguments_it_is_the_assignment_on_digits(self):
        assert assembled_study([]) == Study()

    @pytest.mark.parametrize(
        "arguments", [["train.epochs=5", "l1-l2"], ["l1-l2", "train.epochs=5"], ["train.epochs=5"]]
    )
    def test_overrides_stand_before_after_or_without_a_study(self, arguments):
        assert assembled_study(arguments).train.epochs == 5

    def test_an_existing_file_with_an_equals_sign_is_a_study(self):
        Path("a=b.yaml").write_text("name: odd\n")
        assert assembled_study(["a=b.yaml"]).name == "odd"

    def test_two_studies_are_refused(self):
        with pytest.raises(UserError, match="one study at a time; got 'l1-l2 other'"):
            assembled_study(["l1-l2", "other"])

    @pytest.mark.parametrize(
        ("data", "overrides", "name"),
        [
            ("mnist", [], "l1-l2-mnist"),
            ("digits", [], "l1-l2"),
            ("mnist", ["name=mine"], "mine"),
            ("folder:/some/where/cats", [], "l1-l2-cats"),
            (None, ["data.name=mnist"], "l1-l2"),
        ],
    )
    def test_another_dataset_joins_the_name(self, data, overrides, name):
        assert assembled_study(overrides, data=data).name == name

    def test_data_keeps_what_the_study_does_to_the_images(self):
        study = assembled_study(["data.augment={rotate: 7}"], data="mnist")
        assert study.data == Data(name="mnist", augment={"rotate": 7})

    @pytest.mark.parametrize(
        ("text", "seeds"), [("3", (0, 1, 2)), ("0,3,7", (0, 3, 7)), ("7,", (7,)), (" 4, 2", (4, 2))]
    )
    def test_seeds_are_a_count_or_a_list(self, text, seeds):
        assert assembled_study([], seeds=text).seeds == seeds

    @pytest.mark.parametrize("text", ["x", "1,x", "", ",", "1.5", "0", "-1", "1,1"])
    def test_other_seeds_are_refused(self, text):
        with pytest.raises(UserError, match="seed"):
            assembled_study([], seeds=text)

    def test_arms_choose_in_the_order_given(self):
        assert list(assembled_study([], arms="l2, none").arms) == ["l2", "none"]
        chosen = assembled_study(["arms.mine={l1: 1}"], arms="none,mine")
        assert chosen.arms == {"none": {}, "mine": {"l1": 1}}

    def test_unknown_arms_and_a_lost_baseline_are_refused(self):
        with pytest.raises(UserError, match=r"unknown arm; got 'l3'; expected some of none, l1, l2, l1\+l2"):
            assembled_study([], arms="none,l3")
        with pytest.raises(UserError, match="baseline must be among the arms"):
            assembled_study([], arms="l1,l2")

    def test_options_hold_over_overrides_and_overrides_over_the_file(self):
        Path("s.yaml").write_text("train: {epochs: 2, batch_size: 16}\n")
        study = assembled_study(
            ["s.yaml", "train.epochs=3", "train.batch_size=32"], epochs=4, protocol="course"
        )
        assert (study.train.epochs, study.train.batch_size, study.protocol.kind) == (4, 32, "course")

    def test_findings_of_an_earlier_run_are_dropped(self):
        Path("s.yaml").write_text(Study(resolved={"legends": {"none": "old"}}).to_yaml())
        assert assembled_study(["s.yaml"]).resolved is None


class TestRun:
    def test_it_prints_the_table_and_the_report_on_stdout(self, trained):
        done = invoke("run", "--epochs", "3", "--data-root", "somewhere", "--device", "cpu", "--fresh")
        assert done.exit_code == 0, done.stderr
        assert trained.study.train.epochs == 3
        assert trained.directory == Path("runs/l1-l2")
        assert trained.options["data_root"] == Path("somewhere")
        assert (trained.options["device"], trained.options["fresh"]) == ("cpu", True)
        assert "33.33" in done.stdout
        assert done.stdout.splitlines()[-1] == "report: runs/l1-l2/report.html"

    def test_the_directory_follows_the_name_and_stays_below_runs(self, trained):
        invoke("run", "name=../../x")
        assert trained.directory == Path("runs/%2E.%2F..%2Fx")
        invoke("run", "--out", "elsewhere")
        assert trained.directory == Path("elsewhere")

    def test_the_data_root_comes_from_the_flag_then_the_environment(self, trained, monkeypatch):
        monkeypatch.setenv("REGULAB_DATA", "from-environment")
        invoke("run")
        assert trained.options["data_root"] == Path("from-environment")
        invoke("run", "--data-root", "from-flag")
        assert trained.options["data_root"] == Path("from-flag")

    def test_diverged_runs_are_named_and_exit_with_3(self, trained):
        trained.diverged = [("l1", 0), ("l1+l2", 4)]
        done = invoke("run")
        assert done.exit_code == 3
        assert "diverged: arm “l1” seed 0, arm “l1+l2” seed 4" in done.stderr
        assert "report: runs/l1-l2/report.html" in done.stdout

    @pytest.mark.parametrize(
        ("error", "code", "message"),
        [
            (UserError("bad", got="x", expected="y", where="z"), 2, "error: z: bad; got 'x'; expected y"),
            (OSError(errno.ENOSPC, "No space left on device", "f"), 1, "error: f: No space left on device"),
            (RuntimeError("first line\nsecond"), 1, "error: RuntimeError: first line"),
            (AssertionError(), 1, "error: AssertionError"),
            (KeyboardInterrupt(), 130, "interrupted; give the same command again to go on"),
        ],
    )
    def test_errors_are_one_line_and_an_exit_code(self, trained, error, code, message):
        trained.error = error
        done = invoke("run")
        assert done.exit_code == code
        assert done.stderr.startswith(message)
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""

    def test_a_traceback_only_when_asked_for(self, trained, monkeypatch):
        trained.error = RuntimeError("boom")
        monkeypatch.setenv("REGULAB_DEBUG", "1")
        assert invoke("run").exception is trained.error

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["nope"], "expected a YAML file or one of augmentation, averaging, bn-gbn"),
            (["--data", "nope"], "expected one of cifar10"),
            (["--arms", "none,l9"], "expected some of none, l1, l2, l1+l2"),
            (["arms.l1.l9=1"], f"expected one of {', '.join(TECHNIQUES)}"),
            (["arms.l1.l1=-1"], "arms.l1.l1"),
            (["arms.l1.l1=.inf"], "not a finite number"),
            (["train.epoch=1"], "train.epoch: unknown key"),
            (["--protocol", "both"], "'holdout', 'course' or 'closed'"),
            (["--seeds", "x"], "a count such as 5"),
            (["model=nope"], "unknown model"),
            (["model.norm=nope"], "unknown norm"),
            (["--data", "mnist", "--data-root", "empty"], "regulab data fetch mnist"),
            (["--device", "abacus"], "abacus"),
            (["--out", "/dev/null/run"], "/dev/null"),
        ],
    )
    def test_wrong_input_is_exit_code_2_with_what_there_is(self, arguments, message):
        done = invoke("run", *arguments)
        assert done.exit_code == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
        assert not Path("runs").exists()

    @pytest.mark.parametrize(
        "arguments", [["run", "--epochs", "x"], ["run", "--what"], ["sail"], ["show", "nope"], []]
    )
    def test_wrong_usage_is_exit_code_2(self, arguments):
        assert invoke(*arguments).exit_code == 2

    @pytest.mark.parametrize(
        ("arguments", "most"),
        [([], None), (["--until-decided"], 40), (["--until-decided", "--max-seeds", "12"], 12)],
    )
    def test_until_decided_has_a_limit(self, trained, arguments, most):
        assert invoke("run", *arguments).exit_code == 0
        assert trained.options["max_seeds"] == most

    def test_a_limit_alone_is_refused(self, trained):
        done = invoke("run", "--max-seeds", "12")
        assert done.exit_code == 2
        assert "--max-seeds" in done.stderr
        assert "--until-decided" in done.stderr
        assert trained.study is None

    def test_dry_run_until_decided_shows_the_first_batch(self):
        done = invoke(
            "run", "--dry-run", "--until-decided", "--seeds", "2", "--arms", "none,l1", "--epochs", "1"
        )
        assert done.exit_code == 0, done.stderr
        assert "seeds 0–4" in done.stdout
        assert done.stdout.endswith("then more seeds until every arm is decided, 40 at most\n")

    def test_dry_run_says_what_would_be_trained_and_writes_nothing(self):
        done = invoke("run", "--dry-run", "--seeds", "2", "--arms", "none,l1", "--epochs", "1")
        assert done.exit_code == 0, done.stderr
        assert done.stdout.startswith(
            "4 runs in 1 fleet, into runs/l1-l2\nfleet 0 (fleet): arms “none”, “l1” × seeds 0–1\n"
        )
        assert not Path("runs").exists()

    def test_many_arms_are_listed_once(self, capsys):
        arms, plan = [f"a{k}" for k in range(7)], []
        for index, seeds in enumerate(([0, 1], [2, 3])):
            plan.append(
                SimpleNamespace(index=index, engine="fleet", runs=[(a, s) for s in seeds for a in arms])
            )
        plan.append(SimpleNamespace(index=2, engine="plain", runs=[("a0", 4)]))
        planned: Any = SimpleNamespace(runs=29, fleets=plan, memory_bytes=0, seconds=1, notes=[])
        _print_plan(planned, Path("x"))
        lines = capsys.readouterr().out.splitlines()
        assert lines[1].startswith("fleet 0 (fleet): arms “a0”, “a1”, ")
        assert lines[1].endswith("“a6” × seeds 0–1")
        assert lines[2:4] == [
            "fleet 1 (fleet): the 7 arms of fleet 0 × seeds 2–3",
            "fleet 2 (plain): arm “a0” × seed 4",
        ]


class TestRecorded:
    @pytest.fixture
    def run_dir(self):
        with RunDirectory.open(Path("run"), STUDY, fresh=False) as opened:
            opened.write_environment({})
            runs = [(arm, seed) for arm in ("none", "l1") for seed in range(2)]
            opened.append_history([record for run in runs for record in epochs(*run)])
            opened.write_results([result(*run) for run in runs])
        return "run"

    def test_compare_prints_json_that_is_only_json(self, run_dir):
        done = invoke("compare", run_dir, "--json", "--metric", "weight_norm_l2", "--baseline", "l1")
        assert done.exit_code == 0
        assert done.stderr == ""
        found = json.loads(done.stdout)
        assert (found["metric"], found["baseline"], found["seeds"]) == ("weight_norm_l2", "l1", [0, 1])
        assert found["arms"]["none"]["difference"] == 0

    def test_compare_prints_a_table(self, run_dir):
        done = invoke("compare", run_dir)
        assert done.exit_code == 0
        assert "− “none”" in done.stdout

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--metric", "x"], "no such metric; got 'x'; expected one of"),
            (["--baseline", "x"], "no such arm; got 'x'; expected one of none, l1, l2, l1+l2"),
        ],
    )
    def test_unknown_metric_or_baseline(self, run_dir, arguments, message):
        done = invoke("compare", run_dir, *arguments)
        assert done.exit_code == 2
        assert message in done.stderr

    @pytest.mark.parametrize("command", ["compare", "report"])
    def test_no_run_directory(self, command):
        done = invoke(command, "nowhere")
        assert (done.exit_code, done.stderr) == (2, "error: nowhere: no such run directory\n")


class TestShow:
    @pytest.mark.parametrize(
        ("kind", "names"),
        [
            ("techniques", ["l1", "l2", "dropout", "augmentation", "early_stopping"]),
            ("norms", ["batch"]),
            ("models", ["cnn10k"]),
            ("datasets", ["digits", "mnist", "fashion_mnist", "kmnist"]),
            ("formats", ["folder", "csv", "npz"]),
            ("studies", list(builtin_studies())),
        ],
    )
    def test_a_line_each_and_all_about_one(self, kind, names):
        listed = invoke("show", kind)
        assert listed.exit_code == 0
        lines = {line.split()[0]: line for line in listed.stdout.splitlines() if line}
        for name in names:
            assert len(lines[name].split()) > 1
            full = invoke("show", kind, name)
            assert full.exit_code == 0
            assert len(full.stdout) > len(name)
        unknown = invoke("show", kind, "nope")
        assert unknown.exit_code == 2
        assert all(name in unknown.stderr for name in names)

    def test_a_technique_with_equation_parameters_and_source(self):
        text = invoke("show", "techniques", "l1").stdout
        assert "λ·Σ|w|" in text
        assert "Tibshirani" in text
        assert "  strength: number ≥ 0; required\n" in text
        assert "  method: prox or subgradient or dual; default prox\n" in text

    def test_arms_of_the_built_in_study_or_of_a_file(self):
        assert "l1+l2 (L1 λ=0.0001, L2 λ=0.0001)" in invoke("show", "arms").stdout.splitlines()
        Path("s.yaml").write_text("model: {dropout: 0}\narms: {none: {}}\n")
        assert invoke("show", "arms", "s.yaml").stdout == "none (no regularization)\n"

    def test_a_lesson_shows_claims_rules_and_equations(self):
        shown = invoke("show", "lessons", "batch-norm").stdout
        assert "a bias in front of it is subtracted out" in shown, "the takeaway"
        assert "3 claims, and when they hold" in shown
        assert "holds if" in shown
        assert "1502.03167" in shown
        assert invoke("show", "lessons", "x").exit_code == 2


class TestData:
    def test_missing_files_are_listed_and_exit_with_2(self):
        done = invoke("data", "verify", "mnist", "--data-root", "empty")
        assert done.exit_code == 2
        assert done.stdout.count("missing") == 4
        assert "`regulab data fetch mnist` brings them" in done.stderr

    @pytest.mark.parametrize("command", ["fetch", "verify"])
    @pytest.mark.parametrize(
        ("name", "message"), [("nope", "expected one of cifar10"), ("digits", "no files")]
    )
    def test_what_cannot_be_fetched(self, command, name, message):
        done = invoke("data", command, name)
        assert done.exit_code == 2
        assert message in done.stderr

    def test_fetch_prints_the_paths(self, monkeypatch):
        import regulab.data.fetching.fetch

        def fetch(dataset, root, progress, tell):
            progress("a.gz", 1, None)
            progress("a.gz", 2, 2)
            return [root / dataset.name]

        monkeypatch.setattr(regulab.data.fetching.fetch, "fetch", fetch)
        done = invoke("data", "fetch", "mnist", "--data-root", "r")
        assert (done.exit_code, done.stdout, done.stderr) == (0, "r/mnist\n", "downloading a.gz\n")


class TestProgram:
    """The installed program, as a process of its own."""

    def test_help_is_quick_and_version_is_printed(self):
        """In seconds of the processor, which a busy machine leaves as they are: 0.16 on a Xeon of 2 GHz."""
        resource = pytest.importorskip("resource")
        took = []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            help_text = subprocess.run([REGULAB, "--help"], capture_output=True, text=True, check=True).stdout
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert min(took) < 0.4
        assert all(command in help_text for command in ("run", "report", "compare", "doctor"))
        assert subprocess.run([REGULAB, "--version"], capture_output=True, check=True).stdout.startswith(
            b"regulab "
        )

    def test_help_and_compare_import_nothing_heavy(self):
        finished_run(Path("run"))
        check = (
            "import sys, regulab.cli; from typer.testing import CliRunner; "
            "heavy = {'torch', 'sklearn', 'matplotlib', 'scipy', 'numpy', 'pydantic'}; "
            "CliRunner().invoke(regulab.cli.app, ['--help']); print(sorted(heavy & sys.modules.keys())); "
            "code = CliRunner().invoke(regulab.cli.app, ['compare', 'run']).exit_code; "
            "print(code, 'torch' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n0 False\n"

    def test_a_reader_that_leaves_is_no_traceback(self):
        finished_run(Path("run"))
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [REGULAB, "compare", "run", "--json"], stdout=writer, stderr=subprocess.PIPE, check=False
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (1, b"")

    def test_interrupted_it_saves_and_given_again_it_goes_on(self):
        command = [str(REGULAB), "run", "--seeds", "1", "--epochs", "30", "--arms", "none,l1", "--out", "run"]
        # As a shell starts a background job: with SIGINT ignored.
        ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
        with subprocess.Popen(ignoring, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stopped:
            assert stopped.stderr is not None
            for line in stopped.stderr:
                if line.startswith("epoch"):
                    break
            stopped.send_signal(signal.SIGINT)
            said = stopped.stderr.read()
        assert stopped.returncode == 130
        assert said.endswith("interrupted; give the same command again to go on\n")
        seen = histories("run")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert 0 < len(seen) < 60
        assert len(histories("run")) == 60
        assert histories("run")[: len(seen)] == seen
        assert done.stdout.endswith("report: run/report.html\n")


def test_show_models_counts_for_images_of_any_size(tmp_path):
    usual = invoke("show", "models", "resnet20").stdout
    assert (
        "269,722 parameters (1,376 of them γ and β of norms), 40.6 million multiply-adds for an image of 3×32×32, "
        "a unit of the last map" in usual
    )
    assert "width: whole number ≥ 1" in usual
    grey = invoke("show", "models", "cnn10k", "--size", "1x14x20").stdout
    assert (
        "9,690 parameters (160 of them γ and β of norms), 432,160 multiply-adds for an image of 1×14×20"
        in grey
    )
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n\n\ndef net(n_classes):\n"
        '    """Mine."""\n    return nn.Sequential(nn.Flatten(), nn.LazyLinear(n_classes))\n'
    )
    assert "With --size 3x64x64" in invoke("show", "models", "nets.py:net").stdout
    own = invoke("show", "models", "nets.py:net", "--size", "3x4x5").stdout
    assert own.startswith("net from nets.py\n\nMine.\n\nFor 10 classes: 610 parameters, 600 multiply-adds")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("models", "cnn10k", "--size", "28"), "--size: not a size of images; got '28'"),
        (("models", "cnn10k", "--size", "1x0x5"), "--size: not a size of images; got '1x0x5'"),
        (("models", "--size", "1x5x5"), "goes with a network alone"),
        (("norms", "batch", "--size", "1x5x5"), "goes with a network alone"),
        (("models", "cnn10k", "--size", "1x3x5"), "cnn10k needs images of 4 pixels"),
        (("models", "cnn", "--size", "1x3x5"), "no such name; got 'cnn'"),
        (("models", "absent.py:Net"), "no such file; got 'absent.py'"),
    ],
)
def test_show_refuses_sizes_that_are_none(arguments, message):
    done = invoke("show", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
