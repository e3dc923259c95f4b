"""MNIST: the handwritten digits of LeCun, Cortes and Burges."""

from regulab.data.dataset import Dataset
from regulab.data.fetching.remote_file import RemoteFile
from regulab.data.formats.idx import MNIST_BYTES, idx_loader

_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
# Of the decompressed bytes: mirrors differ in their gzip wrappers.
_SHA256 = {
    "train-images-idx3-ubyte.gz": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte.gz": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

MNIST = Dataset(
    name="mnist",
    summary="70,000 handwritten digits of 28 × 28 pixels; 60,000 train, 10,000 test",
    source="Y. LeCun, C. Cortes, C. Burges 1998, The MNIST database of handwritten digits",
    licence="CC BY-SA 3.0",
    load=idx_loader("mnist", "MNIST", tuple("0123456789")),
    files=tuple(
        RemoteFile(
            name=name, folder="MNIST/raw", mirrors=_MIRRORS, sha256=sha256, content_bytes=MNIST_BYTES[name]
        )
        for name, sha256 in _SHA256.items()
    ),
)
