"""Fashion-MNIST: articles of clothing in MNIST's format."""

from regulab.data.dataset import Dataset
from regulab.data.fetching.remote_file import RemoteFile
from regulab.data.formats.idx import MNIST_BYTES, idx_loader

_MIRRORS = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
# Of the gzip files, as torchvision lists them; none of the content is known here.
_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

FASHION_MNIST = Dataset(
    name="fashion_mnist",
    summary="70,000 grey pictures of clothing, 28 × 28 pixels; 60,000 train, 10,000 test",
    source="H. Xiao, K. Rasul, R. Vollgraf 2017, arXiv 1708.07747",
    licence="MIT",
    load=idx_loader("fashion_mnist", "FashionMNIST", _CLASSES),
    files=tuple(
        RemoteFile(
            name=name, folder="FashionMNIST/raw", mirrors=_MIRRORS, md5=md5, content_bytes=MNIST_BYTES[name]
        )
        for name, md5 in _MD5.items()
    ),
)
