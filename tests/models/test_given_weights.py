"""Initial weights from a file: formats, names, what differs, what stays new."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from regulab.config import Model, load_study
from regulab.errors import UserError
from regulab.models import build, weights_hash
from regulab.streams import Streams
from tests.cases.own import notes_of, prepared, study_of, trained, write

X = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(3))


class Pickled:
    """What no file of weights may hold."""


def net(name="cnn10k", seed=0, classes=5, **model):
    return build(Model(name=name, **model), 1, classes, Streams("given", seed), X)


def values(module):
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


@pytest.fixture
def source():
    """The weights of another seed, with running statistics that have moved."""
    module = net(seed=9, dropout=0)
    for _ in range(3):
        module.train()(X)
    return {name: tensor.detach().clone() for name, tensor in values(module).items()}


def put(folder: Path, content: Any, name: str = "weights.pt") -> str:
    path = folder / name
    if path.suffix == ".safetensors":
        save_file(content, path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    return str(path)


def same(module, source):
    return all(torch.equal(tensor, source[name]) for name, tensor in values(module).items())


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth", "bin", "ckpt", "pth.tar"])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_seed_starts_from_the_files_parameters_and_buffers(source, tmp_path, suffix, seed):
    path = put(tmp_path, source, f"weights.{suffix}")
    assert same(net(seed=seed, weights=path), source)
    assert not same(net(seed=seed), source)


@pytest.mark.parametrize(
    "nest",
    [
        lambda w: {"state_dict": w, "epoch": 3},
        lambda w: {"model": {"state_dict": w}, "optimizer": {"lr": 0.1}},
        lambda w: {"model_state_dict": w},
        lambda w: {f"module.{k}": v for k, v in w.items()},
        lambda w: {"state_dict": {f"model.module.{k}": v for k, v in w.items()}},
        lambda w: {f"_orig_mod.{k}": v for k, v in w.items()},
        lambda w: {k: v.half().float().to(torch.float64) for k, v in w.items()},
        lambda w: {**w, "blocks.0.norm.num_batches_tracked": torch.tensor(7)},
    ],
)
def test_checkpoints_as_people_save_them(source, tmp_path, nest):
    module = net(weights=put(tmp_path, nest(source)))
    found = values(module)
    assert all(torch.allclose(found[name], source[name], atol=1e-3) for name in source)


def test_weights_of_torchs_batch_norm_and_of_torchvisions_names_fit(tmp_path):
    """Names as in torchvision's ResNet-18, counters of batch norm included."""
    args = {"width": 4}
    ours = net("resnet18", seed=9, args=args)
    saved = {name: tensor.detach().clone() for name, tensor in values(ours).items()}
    layers = (
        "conv1",
        "bn1",
        "layer1.0.conv1",
        "layer1.0.bn2",
        "layer2.0.downsample.0",
        "layer4.1.conv2",
        "fc",
    )
    assert all(f"{layer}.weight" in saved for layer in layers)
    for name in [name for name in saved if name.endswith("running_var")]:
        saved[name.replace("running_var", "num_batches_tracked")] = torch.tensor(3)
    assert weights_hash(net("resnet18", args=args, weights=put(tmp_path, saved))) == weights_hash(ours)


def test_a_run_directorys_weights_are_the_start_of_another_study(tmp_path):
    first = study_of("cnn10k", arms={"none": {}})
    trained(first, tmp_path / "run")
    path = tmp_path / "run" / "weights" / "none" / "seed-0.safetensors"
    study = study_of("cnn10k", model={"weights": str(path)}, seeds=2)
    setup = prepared(study)
    for run in setup.runs():
        assert all(torch.equal(v, load_file(path)[k]) for k, v in values(setup.initial(run)).items())
    trained(study, tmp_path / "next")


def test_skipped_layers_are_each_seeds_own(source, tmp_path):
    path = put(tmp_path, source)
    given = {"file": path, "skip": ["classify.*"]}
    one, other, drawn = (
        net(seed=0, classes=7, weights=given), net(seed=1, classes=7, weights=given), net(seed=0, classes=7)
    )  # fmt: skip
    assert torch.equal(one.classify.weight, drawn.classify.weight)
    assert not torch.equal(one.classify.weight, other.classify.weight)
    assert torch.equal(one.blocks[2].conv.weight, source["blocks.2.conv.weight"])
    assert torch.equal(other.blocks[4].norm.running_var, source["blocks.4.norm.running_var"])


def changed(change):
    def of(weights):
        weights = dict(weights)
        change(weights)
        return weights

    return of


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (changed(lambda w: w.pop("blocks.1.conv.weight")), r"1 missing in the file: blocks\.1\.conv\.weight"),
        (changed(lambda w: w.update(extra=torch.ones(2))), "1 not in the network: extra"),
        (changed(lambda w: w.update({"classify.weight": torch.ones(9, 16)})),
         r"1 of another shape: classify\.weight 9×16 in the file, 5×16 in the network.*skip: \[\"classify\.\*\"\]"),
        (lambda w: {f"other.{k}": v for k, v in w.items()}, r"27 missing in the file: .* …\. 27 not in the network"),
        (changed(lambda w: w["classify.bias"].fill_(float("nan"))), r"classify\.bias is not finite"),
        (changed(lambda w: w.update({"classify.weight": torch.ones(5, 16, dtype=torch.int8)})),
         r"classify\.weight is of type int8"),
        (lambda w: {"epoch": 3, "best": 0.5}, "holds no tensors by name; got 'keys epoch, best'"),
        (lambda w: [1, 2], "holds no tensors by name"),
        (lambda w: {"state_dict": {}}, "holds no tensors by name"),
        (lambda w: {"model": Pickled()}, r"holds an object of \S*Pickled.*run code when it is read"),
        (lambda w: nn.Linear(2, 3), "holds an object of .*Linear.*state_dict"),
        (lambda w: b"not a file of weights at all", "no file of weights, or one that was cut"),
        (lambda w: b"", "no file of weights, or one that was cut"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(source, tmp_path, spoil, message):
    path = put(tmp_path, spoil(source))
    with pytest.raises(UserError, match=message):
        net(weights=path)


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("share", [0.05, 0.6, 0.99])
def test_a_file_that_was_cut(source, tmp_path, name, share):
    path = Path(put(tmp_path, source, name))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=r"model\.weights: no .*cut"):
        net(weights=str(path))


def test_a_file_that_is_none(tmp_path):
    for name, message in (
        ("absent.pt", "cannot be read: No such file"),
        ("weights.h5", r"no file of weights; got '.*h5'; expected one that ends with \.safetensors, \.pt"),
        ("folder.pt", "a folder or a device"),
    ):
        if name.startswith("folder"):
            (tmp_path / name).mkdir()
        with pytest.raises(UserError, match=message):
            net(weights=str(tmp_path / name))


def test_a_pattern_that_matches_nothing(source, tmp_path):
    with pytest.raises(UserError, match=r"skip: matches no name.*got 'fc\.\*'.*its layers: blocks\.0\.conv"):
        net(weights={"file": put(tmp_path, source), "skip": ["fc.*"]})


def test_a_persons_network_with_tied_weights_and_a_buffer_that_is_not_saved(tmp_path):
    file = write(tmp_path, Tied=(
        "def __init__(self, in_channels, classes):\n    super().__init__(in_channels, classes)\n"
        "    self.again = self.conv\n"
        "    self.register_buffer('scale', torch.ones(1), persistent=False)\n"
    ))  # fmt: skip
    module = net(f"{file}:Tied", seed=9)
    path = put(tmp_path, module.state_dict())
    assert weights_hash(net(f"{file}:Tied", weights=path)) == weights_hash(module)
    saved = {k: v for k, v in module.state_dict().items() if not k.startswith("conv")}
    assert weights_hash(net(f"{file}:Tied", weights=put(tmp_path, saved, "b.pt"))) == weights_hash(module)


def test_the_report_says_what_is_not_random(source, tmp_path):
    def told(skip):
        module = build(Model(), 1, 10, Streams("given", 3), X)
        path = put(tmp_path, module.state_dict(), "ten.pt")
        return notes_of(study_of("cnn10k", model={"weights": {"file": path, "skip": skip}}))

    assert "seeds differ in the order of the images, augmentation and dropout; how other initial" in told([])
    assert "dropout, and in what classify.weight, classify.bias start from;" in told(["classify.*"])
    assert "every seed starts from the same weights" not in told([])


def test_a_study_is_not_extended_with_other_weights(tmp_path):
    def saved(seed):
        return put(tmp_path, build(Model(), 1, 10, Streams("given", seed), X).state_dict())

    study = study_of("cnn10k", model={"weights": saved(1)})
    first = trained(study, tmp_path / "run")
    assert trained(study, tmp_path / "run") == first
    saved(2)
    with pytest.raises(
        UserError, match=r"changed since this study was begun: .*the file of the initial weights"
    ):
        trained(study, tmp_path / "run")


def test_paths_are_relative_to_the_study_file(tmp_path, monkeypatch):
    project = tmp_path / "project"
    (project / "nets").mkdir(parents=True)
    (project / "nets" / "w.pt").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    for written in ("weights: nets/w.pt", "weights: {file: nets/w.pt, skip: [a]}"):
        (project / "study.yaml").write_text(f"model: {{name: cnn10k, {written}}}")
        model = load_study("project/study.yaml").model
        assert model.weights is not None
        assert model.weights.file == "project/nets/w.pt"
    there = load_study("project/study.yaml").identity()
    monkeypatch.chdir(project)
    assert load_study("study.yaml").identity() == there
    assert load_study("study.yaml", "model.weights.skip=[b]").identity() != there
