"""How a person's constructor is called: parameters by the names that people give them, and `model.args`."""

from __future__ import annotations

import pytest
import torch

from regulab.config import Model, build_study
from regulab.errors import UserError
from regulab.models import build, how_called
from regulab.streams import Streams
from tests.cases.own import notes_of, study_of

NETS = '''
import socket
import torch
from torch import nn


def net(channels, classes, width=4):
    layers = [nn.Conv2d(channels, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(width, classes))


def usual(num_classes=1000, in_chans=3, width=4, img_size=224):
    made = net(in_chans, num_classes, width)
    made.size = img_size
    return made


def pair(n_classes, in_ch, image_size=(224, 224)):
    made = net(in_ch, n_classes)
    made.size = image_size
    return made


def required(in_features, output_dim):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_features, output_dim))


def widths(classes, channels=6, out_features=5):
    """Both have defaults: they are no sizes of images."""
    return nn.Sequential(nn.Conv2d(1, channels, 3), nn.Conv2d(channels, out_features, 1), nn.Flatten(),
                         nn.LazyLinear(classes))


def passing(**kwargs):
    torch.rand(3)  # draws before it fails
    return usual(**kwargs)


def passing_other(**kwargs):
    return pair(**kwargs)


def lacking(classes, kernel):
    pass


def swallowing(**kwargs):
    return net(1, kwargs["num_classes"])


def downloads(num_classes, pretrained=False):
    if pretrained:
        try:
            socket.create_connection(("weights.example.org", 443), timeout=1)
        except OSError as error:
            raise RuntimeError("cannot download") from error
    return net(1, num_classes)


def has_a_copy(num_classes):
    try:
        socket.create_connection(("weights.example.org", 443), timeout=1)
    except OSError:
        return net(1, num_classes)


def asks_by_address(num_classes):
    with socket.socket() as connection:
        connection.connect(("192.0.2.1", 80))


def within_the_machine(num_classes):
    one, other = socket.socketpair()
    one.close(), other.close()
    return net(1, num_classes)
'''


@pytest.fixture
def nets(tmp_path):
    path = tmp_path / "nets.py"
    path.write_text(NETS)
    return path


def built(nets, name, *, channels=1, classes=7, shape=(12, 12), **model):
    chosen = Model(name=f"{nets}:{name}", **model)
    images = torch.rand(2, channels, *shape, generator=torch.Generator().manual_seed(1))
    module = build(chosen, channels, classes, Streams("calling", 0), images)
    assert module(images).shape == (2, classes)
    return module, how_called(chosen)


def test_classes_channels_and_size_are_filled_whatever_their_defaults(nets):
    module, call = built(nets, "usual", channels=2)
    assert call == "usual(num_classes=7, in_chans=2, img_size=12)"
    assert module.size == 12


def test_a_size_with_a_pair_as_default_is_a_pair_and_one_of_oblong_images_is_left(nets):
    module, call = built(nets, "pair", shape=(12, 9))
    assert call == "pair(n_classes=7, in_ch=1, image_size=(12, 9))"
    module, call = built(nets, "usual", shape=(12, 9))
    assert module.size == 224
    assert "img_size" not in call


def test_names_that_mean_other_things_elsewhere_are_filled_where_nothing_else_could_be(nets):
    assert built(nets, "required")[1] == "required(in_features=144, output_dim=7)"
    module, call = built(nets, "widths")
    assert call == ""
    assert module[1].weight.shape[:2] == (5, 6)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("passing", "passing(num_classes=7, in_chans=1, img_size=12)"),
        ("passing_other", "passing_other(image_size=12, n_classes=7, in_ch=1)"),
        ("swallowing", "swallowing(num_classes=7, in_chans=1, img_size=12)"),
    ],
)
def test_a_factory_that_takes_any_name_is_offered_the_usual_ones(nets, name, call):
    assert built(nets, name)[1] == call


def test_what_a_factory_passes_on_in_vain_is_taken_back_and_draws_start_again(nets):
    nets.write_text(NETS.replace("num_classes=1000, in_chans=3", "classes=1000, in_channels=3")
                    .replace("net(in_chans, num_classes, width)", "net(in_channels, classes, width)"))  # fmt: skip
    module, call = built(nets, "passing")
    assert call == "passing(img_size=12, classes=7, in_channels=1)"
    torch.manual_seed(1)
    direct, _ = built(nets, "passing", args={"classes": 7, "in_channels": 1, "img_size": 12})
    assert torch.equal(module[0].weight, direct[0].weight)


def test_arguments_are_passed_and_win(nets):
    module, call = built(nets, "usual", args={"width": 9, "img_size": 96})
    assert module[0].weight.shape[0] == 9
    assert module.size == 96
    assert call == "usual(num_classes=7, in_chans=1, img_size=96, width=9)"


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("usual", {"widht": 3}, r"model\.args\.widht: no such parameter.*usual\(num_classes.*did you mean width"),
        ("usual", {"num_classes": 5}, r"model\.args\.num_classes: the images have 7 classes; got 5.*leave"),
        ("usual", {"in_chans": 3}, "the images have 1 channels; got 3"),
        ("usual", {"width": "wide"}, "cannot be built: TypeError"),
        ("passing", {"widht": 3}, "unexpected keyword argument 'widht'"),
        ("lacking", {}, "missing 1 required positional argument.*parameters called in_channels.*model.args"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(nets, name, args, message):
    with pytest.raises(UserError, match=message):
        built(nets, name, args=args)


@pytest.mark.parametrize(
    ("name", "args", "asked"),
    [("downloads", {"pretrained": True}, "weights.example.org"), ("asks_by_address", {}, "192.0.2.1")],
)
def test_a_factory_that_needs_the_network_says_so(nets, name, args, asked):
    with pytest.raises(UserError, match=f"{name} needs the network; got '{asked}'.*weights: FILE"):
        built(nets, name, args=args)


@pytest.mark.parametrize("name", ["downloads", "has_a_copy", "within_the_machine"])
def test_one_that_does_without_is_built(nets, name):
    assert built(nets, name)[1] == f"{name}(num_classes=7)"


def test_the_network_is_there_again_afterwards(nets):
    import socket

    before = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo
    built(nets, "has_a_copy")
    with pytest.raises(UserError):
        built(nets, "asks_by_address")
    assert (socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo) == before


def test_the_report_tells_what_was_filled_and_nothing_of_our_own_names(nets):
    args = {"width": 9}
    told = notes_of(study_of(f"{nets}:usual", model={"args": args}))
    assert "the network is built as usual(num_classes=10, in_chans=1, img_size=8, width=9)" in told
    assert "is built as" not in notes_of(study_of(f"{nets}:widths"))


def test_arguments_are_a_part_of_a_studys_identity_and_none_are_none():
    def study(**model):
        return build_study({"model": {"name": "nets.py:Net", **model}})

    assert (
        study().identity()
        == study(args={}).identity()
        == study(args=None, weights=None, freeze=[]).identity()
    )
    assert study(args={"width": 3}).identity() != study().identity()
    assert study(args={"width": 3, "a": [1]}) == study(args={"a": [1], "width": 3})
    assert hash(study(args={"width": 3, "a": [1]}).model) == hash(study(args={"a": [1], "width": 3}).model)


def test_arguments_that_no_file_could_hold_are_refused():
    with pytest.raises(UserError, match=r"args\.act: cannot be written to a study file; got 'type'"):
        Model(name="nets.py:Net", args={"act": torch.nn.ReLU})
