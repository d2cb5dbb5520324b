"""What is known about data sets in the format of MNIST; a new one is one more `IDXDataset`."""

from dataclasses import dataclass

TRAIN_FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
TEST_FILES = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")


@dataclass(frozen=True)
class IDXDataset:
    """What is known about one data set: its files, its scale, and where it comes from.

    Parameters
    ----------
    name, folder, openml_name : str
        How it is called in messages, on disk, and on OpenML (version 1; training rows first, then test rows).
    mean, std : float
        Statistics of all training pixels divided by 255, as published.
    md5 : dict of str to str
        MD5 of the uncompressed content of each file.
    target_names : tuple of str
        One per class.
    description : str
    n_train, n_validation : int
        Number of images in the training file, and how many of them, the last ones, form the validation split.
    image_shape : (int, int)
    """

    name: str
    folder: str
    openml_name: str
    mean: float
    std: float
    md5: dict[str, str]
    target_names: tuple[str, ...]
    description: str
    n_train: int = 60000
    n_validation: int = 5000
    image_shape: tuple[int, int] = (28, 28)


MNIST = IDXDataset(
    name="MNIST",
    folder="mnist",
    openml_name="mnist_784",
    mean=0.1307,
    std=0.3081,
    md5={
        "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
    },
    target_names=tuple("0123456789"),
    description="MNIST: 70,000 grey images of handwritten digits, 28 x 28 pixels, in ten classes. "
    "LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, "
    "Proceedings of the IEEE 86(11), 1998.",
)

FASHION_MNIST = IDXDataset(
    name="Fashion-MNIST",
    folder="fashion_mnist",
    openml_name="Fashion-MNIST",
    mean=0.2860,
    std=0.3530,
    md5={
        "train-images-idx3-ubyte.gz": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte.gz": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte.gz": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte.gz": "15d484375f8d13e6eb1aabb0c3f46965",
    },
    target_names=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    description="Fashion-MNIST: 70,000 grey images of clothes, 28 x 28 pixels, in ten classes. "
    "Xiao, Rasul and Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking machine learning "
    "algorithms, arXiv:1708.07747, 2017. MIT licence, copyright 2017 Zalando SE.",
)
