"""CIFAR-100: small colour photographs of a hundred kinds of things."""

from regulab.data.dataset import Dataset
from regulab.data.fetching.remote_file import RemoteFile
from regulab.data.formats.cifar import CifarFiles

_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""
FILES = CifarFiles(
    name="cifar100",
    folder="CIFAR100",
    archive="cifar-100-binary.tar.gz",
    members="cifar-100-binary",
    train=("train.bin",),
    test=("test.bin",),
    label_bytes=2,
    records=50_000,
    test_records=10_000,
    class_names=tuple(_CLASSES.split()),
)
CIFAR100 = Dataset(
    name="cifar100",
    summary="60,000 colour photographs of 32 × 32 pixels in a hundred classes; 50,000 train, 10,000 test",
    source="A. Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
    load=FILES.loader(),
    files=(
        RemoteFile(
            name=FILES.archive,
            folder=FILES.folder,
            mirrors=("https://www.cs.toronto.edu/~kriz/",),
            md5="03b5dce01913d631647c71ecec9e9cb8",  # as that page lists it
            content_bytes=60_000 * 3074 + 100_000,  # two files and the names of the classes in a tar archive
        ),
    ),
)
