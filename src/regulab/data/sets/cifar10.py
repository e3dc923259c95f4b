"""CIFAR-10: small colour photographs of ten kinds of things."""

from regulab.data.dataset import Dataset
from regulab.data.fetching.remote_file import RemoteFile
from regulab.data.formats.cifar import CifarFiles

FILES = CifarFiles(
    name="cifar10",
    folder="CIFAR10",
    archive="cifar-10-binary.tar.gz",
    members="cifar-10-batches-bin",
    train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    test=("test_batch.bin",),
    label_bytes=1,
    records=10_000,
    test_records=10_000,
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)
CIFAR10 = Dataset(
    name="cifar10",
    summary="60,000 colour photographs of 32 × 32 pixels in ten classes; 50,000 train, 10,000 test",
    source="A. Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
    load=FILES.loader(),
    files=(
        RemoteFile(
            name=FILES.archive,
            folder=FILES.folder,
            mirrors=("https://www.cs.toronto.edu/~kriz/",),
            md5="c32a1d4ab5d03f1284b67883e8d87530",  # as that page lists it
            content_bytes=6 * 10_000 * 3073 + 100_000,  # six files, names and a page in a tar archive
        ),
    ),
)
