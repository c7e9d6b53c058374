"""Other libraries' loaders of JPEG files for the benchmark `pipeline`: endless batches of crops."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

IMAGE_SIZE = 224


def torchvision_loader(paths: list[str], size: int, cores: int) -> tuple[str, Iterator[Any]]:
    """PyTorch's loader with torchvision's transforms, as its documentation has it."""
    from torchvision.transforms import v2

    steps = [v2.RandomCrop(IMAGE_SIZE), v2.RandomHorizontalFlip(), v2.PILToTensor()]
    name = f"torchvision, {cores} worker processes"
    return name, data_loader(paths, size, cores, v2.Compose(steps))


def torch_loader(paths: list[str], size: int, cores: int) -> tuple[str, Iterator[Any]]:
    """PyTorch's loader with Pillow and NumPy."""
    name = f"torch DataLoader and Pillow, {cores} worker processes"
    return name, data_loader(paths, size, cores, random_crop)


def random_crop(image: Image.Image) -> Any:
    """Returns a random crop, mirrored every other time, as a tensor of channels first."""
    import torch

    left, top = (int(v) for v in torch.randint(0, 256 - IMAGE_SIZE + 1, (2,)))
    image = image.crop((left, top, left + IMAGE_SIZE, top + IMAGE_SIZE))
    if torch.rand(()) < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


class PhotoFiles:
    """A PyTorch map-style set of JPEG files."""

    def __init__(self, paths: list[str], transform: Callable[[Image.Image], Any]):
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB")), index % 2


def data_loader(
    paths: list[str], size: int, cores: int, transform: Callable[[Image.Image], Any]
) -> Iterator[tuple[Any, Any]]:
    """Returns the endless batches of a `torch.utils.data.DataLoader`."""
    from torch.utils.data import DataLoader

    def forever() -> Iterator[tuple[Any, Any]]:
        while True:
            yield from batches

    batches = DataLoader(
        PhotoFiles(paths * 64, transform),  # pyright: ignore[reportArgumentType]
        size,
        shuffle=True,
        num_workers=cores,
        drop_last=True,
        persistent_workers=True,
        multiprocessing_context="spawn",
    )
    return forever()


def tf_data(paths: list[str], size: int, cores: int) -> tuple[str, Iterator[Any]]:
    """tf.data with its fused decoding and cropping."""
    import tensorflow as tf

    def read(path: Any) -> Any:
        corner = tf.random.uniform([2], 0, 256 - IMAGE_SIZE + 1, tf.int32)
        window = tf.concat([corner, [IMAGE_SIZE, IMAGE_SIZE]], 0)
        data = tf.io.read_file(path)
        # As exact as the others' decoding; its default is the fast, inexact transform.
        image = tf.io.decode_and_crop_jpeg(data, window, 3, dct_method="INTEGER_ACCURATE")
        return tf.image.random_flip_left_right(image)

    photos = tf.data.Dataset.from_tensor_slices(paths).shuffle(len(paths)).repeat()
    photos = photos.map(read, num_parallel_calls=cores).batch(size).prefetch(cores)
    return f"tf.data, {cores} parallel calls", photos.as_numpy_iterator()


LOADERS = (torchvision_loader, torch_loader, tf_data)
