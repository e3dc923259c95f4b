"""Kuzushiji-MNIST: ten hiragana in classical Japanese handwriting, in MNIST's format."""

from regulab.data.dataset import Dataset
from regulab.data.fetching.remote_file import RemoteFile
from regulab.data.formats.idx import MNIST_BYTES, idx_loader

_MIRRORS = (
    "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
)
# Of the gzip files, as torchvision lists them; none of the content is known here.
_MD5 = {
    "train-images-idx3-ubyte.gz": "bdb82020997e1d708af4cf47b453dcf7",
    "train-labels-idx1-ubyte.gz": "e144d726b3acfaa3e44228e80efcd344",
    "t10k-images-idx3-ubyte.gz": "5c965bf0a639b31b8f53240b1b52f4d7",
    "t10k-labels-idx1-ubyte.gz": "7320c461ea6c1c855c0b718fb2a4b134",
}

KMNIST = Dataset(
    name="kmnist",
    summary="70,000 handwritten hiragana of 28 × 28 pixels; 60,000 train, 10,000 test",
    source="T. Clanuwat et al. 2018, Deep Learning for Classical Japanese Literature, arXiv 1812.01718",
    licence="CC BY-SA 4.0",
    load=idx_loader("kmnist", "KMNIST", ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
    files=tuple(
        RemoteFile(name=name, folder="KMNIST/raw", mirrors=_MIRRORS, md5=md5, content_bytes=MNIST_BYTES[name])
        for name, md5 in _MD5.items()
    ),
)
