"""Networks from installed packages: small stand-ins for timm, torchvision and anyone's package."""

from __future__ import annotations

import socket
import sys

import pytest
import torch

from regulab.config import Model
from regulab.config.paths import model_path
from regulab.errors import UserError
from regulab.models import build, file_hashes, fingerprint, how_called, packages
from regulab.models.offline import offline
from regulab.streams import Streams
from tests.cases.own import notes_of, study_of, trained

TIMM = """
from torch import nn

KNOWN = {"tiny18": 4, "tiny50": 6}


def list_models():
    return list(KNOWN)


def is_model(name):
    return name in KNOWN


class Tiny(nn.Sequential):
    def __init__(self, width, num_classes=1000, in_chans=3):
        layers = [nn.Conv2d(in_chans, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
        super().__init__(*layers, nn.Flatten(), nn.Linear(width, num_classes))


def create_model(model_name, pretrained=False, pretrained_cfg=None, **kwargs):
    assert not pretrained
    return Tiny(KNOWN[model_name.partition(".")[0]], **kwargs)
"""
TORCHVISION = """
from torch import nn


def tiny(*, weights=None, progress=True, **kwargs):
    return Net(**kwargs)


class Net(nn.Module):
    def __init__(self, num_classes=1000):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.fc(self.conv(x).relu().mean((2, 3)))
"""
OWN = """
import collections
from torch import nn


class Zoo:
    @staticmethod
    def make(classes):
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))


def text():
    return "no module"


number = 3
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder of packages, as if they were installed, and forgotten afterwards."""
    for name, files in {
        "timm": {"__init__.py": TIMM},
        "torchvision": {"__init__.py": "", "models.py": TORCHVISION},
        "zoo_of_tests": {"__init__.py": "", "nets.py": OWN, "broken.py": "import not_there_either"},
    }.items():
        folder = tmp_path / "site" / name
        folder.mkdir(parents=True)
        for file, text in files.items():
            (folder / file).write_text(text)
    known = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(packages, "_known", {})
    for name in [name for name in sys.modules if name.partition(".")[0] in ("timm", "torchvision")]:
        monkeypatch.delitem(sys.modules, name)
    yield tmp_path / "site"
    for name in set(sys.modules) - known:
        if name.partition(".")[0] in ("timm", "torchvision", "zoo_of_tests"):
            del sys.modules[name]


def built(name, classes=7, **model):
    chosen = Model(name=name, **model)
    images = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    module = build(chosen, 1, classes, Streams("packages", 0), images)
    assert module.eval()(images).shape == (2, classes)
    return how_called(chosen)


@pytest.mark.parametrize(
    ("name", "args", "call"),
    [
        ("timm:tiny18", None, "tiny18(pretrained=False, num_classes=7, in_chans=1)"),
        ("timm:tiny50.tag", {"num_classes": 7}, "tiny50.tag(pretrained=False, num_classes=7, in_chans=1)"),
        ("torchvision:tiny", None, "tiny(weights=None, num_classes=7)"),
        ("zoo_of_tests.nets:Zoo.make", None, ""),
    ],
)
def test_they_are_built_for_the_classes_and_channels(installed, name, args, call):
    assert built(name, args=args) == call


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("timm:tiny19", None, "timm has no network of this name; got 'tiny19'.*tiny18.*did you mean tiny18"),
        ("torchvision:tony", None, r"torchvision\.models has no network.*did you mean tiny"),
        ("zoo_of_tests.nets:number", None, "has no network of this name; got 'number'"),
        ("zoo_of_tests.nets:text", None, "what zoo_of_tests.nets:text gives is not a network; got 'str'"),
        ("zoo_of_tests.absent:Net", None, "zoo_of_tests.absent cannot be imported: ModuleNotFoundError"),
        ("zoo_of_tests.broken:Net", None, "broken cannot be imported: ModuleNotFoundError.*not_there_either"),
        ("no_such_package_at_all.x:Net", None, "no_such_package_at_all is not installed.*pip install no_such"),
        ("no:", None, "no name of a network; got 'no:'"),
        ("a b:c", None, "no name of a network"),
        ("timm:tiny18", {"pretrained": True}, r"model\.args\.pretrained: pretrained weights need the network.*FILE"),
        ("torchvision:tiny", {"weights": "DEFAULT"}, r"model\.args\.weights: pretrained weights need the network"),
        ("timm:tiny18", {"depht": 3}, "unexpected keyword argument 'depht'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused(installed, name, args, message):
    with pytest.raises(UserError, match=message):
        built(name, args=args)


def test_a_file_that_was_meant_is_offered(installed, tmp_path, monkeypatch):
    (tmp_path / "own_nets_here.py").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"did you mean own_nets_here\.py:Net\?"):
        built("own_nets_here:Net")


def test_where_nothing_is_installed_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.delitem(sys.modules, "timm")
    monkeypatch.setattr(packages, "_known", {})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"the package timm is not installed.*pip install timm"):
        built("timm:resnet18")


def test_it_trains_and_a_study_is_not_extended_with_another_version(installed, tmp_path):
    study = study_of("timm:tiny18", model={"freeze": ["0.*"]})
    assert "tiny18(pretrained=False, num_classes=10, in_chans=1)" in notes_of(study)
    trained(study, tmp_path / "run")
    (installed / "timm" / "extra.py").write_text("changed = True")
    with pytest.raises(UserError, match="the package that the model comes from, or its version"):
        trained(study, tmp_path / "run")


def test_a_package_is_known_by_its_version_and_no_path(installed, monkeypatch):
    model = Model(name="timm:tiny18")
    built("timm:tiny18")
    assert file_hashes(model) == {}
    monkeypatch.setattr("importlib.metadata.packages_distributions", lambda: {"timm": ["pytest"]})
    assert packages.load("timm:tiny18").version() == pytest.__version__
    assert model_path("timm:tiny18") == ""
    assert fingerprint(model, []) == fingerprint(model, [])


def test_a_package_that_is_a_link_to_a_folder_is_known_by_its_sources(installed, monkeypatch):
    """``pip install -e``: what is in the folder changes while the version stays."""
    place = installed / "linked-1.0.dist-info"
    place.mkdir()
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: linked\nVersion: 1.0\n")
    monkeypatch.setattr("importlib.metadata.packages_distributions", lambda: {"timm": ["linked"]})
    assert packages.load("timm:tiny18").version() == "1.0"
    (place / "direct_url.json").write_text('{"url": "file:///here", "dir_info": {"editable": true}}')
    before = packages.load("timm:tiny18").version()
    (installed / "timm" / "extra.py").write_text("changed = True")
    assert before.startswith("sha256:")
    assert packages.load("timm:tiny18").version() not in (before, "1.0")


def test_what_others_put_in_the_place_of_a_socket_stays_there(monkeypatch):
    def watched(*_):
        raise OSError

    monkeypatch.setattr(socket.socket, "connect", watched)
    with offline("a network", "model.name"):
        assert socket.socket.connect is not watched
    assert socket.socket.connect is watched
    assert "connect_ex" not in vars(socket.socket)
