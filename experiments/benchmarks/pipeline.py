"""How fast do training batches come from the disk, and how many cores feed one H100?

    python -m experiments.benchmarks.pipeline --set FOLDER --raw-set FOLDER

The sets are prepared ones of 256x256 images, stored as JPEG and raw; without them, both are made
of synthetic photos in a temporary folder. Each way of reading takes its turn in every round, and a
turn measures whole batches of 224x224 crops after what had been read ahead is used up. The bound
is libjpeg-turbo alone: the same JPEGs from memory, decoded by two threads, and dropped.
"""

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from alexnet_jax.config import AugmentConfig, DataConfig
from alexnet_jax.data.dataset import Split, open_dataset
from alexnet_jax.data.decode import decode_jpeg
from alexnet_jax.data.pipeline import training_batches
from alexnet_jax.preparation.prepare import prepare
from experiments.benchmarks.environment import environment

OUTPUT = Path(__file__).parent / "results" / "pipeline.json"
CORES = 2
IMAGE_SIZE = 224
AUGMENT = AugmentConfig(colour_noise=0.1)
TRAINING_FLOP = 4.14e9  # of one image, forward and backward
H100_FLOP_PER_SECOND = {"TF32": 495e12, "bfloat16": 989e12}  # dense peaks, SXM, data sheet
UTILISATION = 0.3  # assumed


class Contestant(NamedTuple):
    """A way of reading: `images` are read by each call of `turn`.

    `warm_up` uses up what was read ahead; `one_process` says that this process does all the work,
    so that its CPU time is known.
    """

    name: str
    images: int
    turn: Callable[[], None]
    warm_up: Callable[[], None]
    one_process: bool = True


# A loader goes on reading ahead after its turn; the next turn begins when its queues are full.
SETTLE_SECONDS = 1.0
PACKAGES = ("simplejpeg", "pillow", "grain", "array-record", "tensorflow")


def main() -> None:
    """Measures, prints a table and writes the JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", type=Path, help="folder of a prepared set stored as JPEG")
    parser.add_argument("--raw-set", type=Path, help="folder of a prepared set stored raw")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--batches", type=int, default=8, help="per turn")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=768, help="of the synthetic sets")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()

    with contextlib.ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made: dict[str, Path] = {}
        if not arguments.set or not arguments.raw_set:
            made = synthetic_sets(temporary, arguments.images)
        jpeg = open_dataset(arguments.set or made["jpeg"], 0).split("train")
        raw = open_dataset(arguments.raw_set or made["raw"], 0).split("train")
        contestants, skipped = enter(stack, temporary, jpeg, raw, arguments)
        rows = compete(contestants, arguments.rounds)
        result = {
            "environment": environment(
                ("simplejpeg", "pillow", "grain", "array-record", "tensorflow")
            ),
            "question": "images/s of whole training batches, two cores",
            "sets": {
                "jpeg": "synthetic" if not arguments.set else jpeg.path.name,
                "raw": "synthetic" if not arguments.raw_set else raw.path.name,
                "jpeg_bytes_per_image": mean_bytes(jpeg),
            },
            "batch_size": arguments.batch_size,
            "rounds": arguments.rounds,
            "rows": rows,
            "skipped": skipped,
            "feeding_one_h100": feeding(rows),
        }
    show(result)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


def synthetic_sets(folder: Path, count: int) -> dict[str, Path]:
    """Makes photos with detail of every size, as real ones have, and prepares them both ways."""
    rng = np.random.default_rng(0)
    for index in range(count):
        photo = np.full((256, 256, 3), 128.0)
        for size in (4, 8, 16, 32, 64, 128, 256):
            # The JPEGs become as long, and are decoded as fast, as those of ImageNet's photos.
            scale = 48 * (4 / size) ** 0.75
            grey = rng.normal(0, scale, (size, size, 1))
            colour = rng.normal(0, scale / 3, (size, size, 3))
            pixels = (grey + colour + 128).clip(0, 255).astype(np.uint8)
            photo += np.asarray(Image.fromarray(pixels).resize((256, 256))).astype(float) - 128
        where = folder / "photos" / f"class{index % 2}"
        where.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(photo.clip(0, 255).astype(np.uint8))
        image.save(where / f"{index:05d}.png", compress_level=1)
    source = str(folder / "photos")
    return {
        store: prepare(
            DataConfig(store, "folder", source, 256, store), folder, workers=0, progress=False
        )
        for store in ("jpeg", "raw")
    }


def enter(
    stack: contextlib.ExitStack, temporary: Path, jpeg: Split, raw: Split, arguments: Any
) -> tuple[list[Contestant], dict[str, str]]:
    """Returns who competes, and why the others do not."""
    size, batches = arguments.batch_size, arguments.batches

    def ours(name: str, split: Split, **options: Any) -> Contestant:
        iterator = stack.enter_context(
            training_batches(
                split, seed=0, batch_size=size, image_size=IMAGE_SIZE, augment=AUGMENT, **options
            )
        )
        return endless(name, iterator, size, batches, one_process=not options.get("workers"))

    count = min(jpeg.num_examples, size * batches)
    encoded = [bytes(jpeg.stored_bytes(index)) for index in range(count)]
    contestants = [
        bare("bare decode, 2 threads", encoded, CORES),
        ours("ours, 2 threads", jpeg, threads=CORES),
        ours("ours, 2 worker processes", jpeg, workers=CORES, threads=1),
        bare("bare decode, 1 thread", encoded, 1),
        ours("ours, 1 thread", jpeg, threads=0),
        ours("ours, raw store, 2 threads", raw, threads=CORES),
        ours("ours, raw store, 1 thread", raw, threads=0),
    ]
    files = temporary / "files"
    files.mkdir()
    for index, data in enumerate(encoded):
        (files / f"{index:05d}.jpg").write_bytes(data)
    paths = sorted(str(path) for path in files.iterdir())
    skipped = {}
    for enter_other in (torchvision_loader, torch_loader, tf_data):
        try:
            name, iterator = enter_other(paths, size)
        except ImportError as error:
            skipped[enter_other.__name__] = f"not installed: {error.name}"
        else:
            contestants.append(endless(name, iterator, size, batches, one_process=False))
    return contestants, skipped


def endless(
    name: str, iterator: Iterator[Any], size: int, batches: int, one_process: bool
) -> Contestant:
    """Returns a contestant that takes batches from an endless iterator."""

    def take(count: int) -> None:
        for _ in range(count):
            next(iterator)

    # What lies ready or is being made: with threads, CORES + 2; with processes, more in all queues.
    ahead = 3 * CORES if one_process else 8 * CORES
    return Contestant(name, size * batches, lambda: take(batches), lambda: take(ahead), one_process)


def bare(name: str, encoded: list[bytes], threads: int) -> Contestant:
    """Returns the bound: decoding alone."""

    def decode(part: list[bytes]) -> None:
        scratch = np.empty((256, 256, 3), np.uint8)
        for data in part:
            decode_jpeg(data, scratch)

    def turn() -> None:
        for _ in pool.map(decode, [encoded[i::threads] for i in range(threads)]):
            pass

    pool = ThreadPoolExecutor(threads)
    return Contestant(name, len(encoded), turn, lambda: decode(encoded[:16]))


def torchvision_loader(paths: list[str], size: int) -> tuple[str, Iterator[Any]]:
    """PyTorch's loader with torchvision's transforms, as its documentation has it."""
    from torchvision.transforms import v2  # pyright: ignore[reportMissingImports]

    steps = [v2.RandomCrop(IMAGE_SIZE), v2.RandomHorizontalFlip(), v2.PILToTensor()]
    return "torchvision, 2 worker processes", loader(paths, size, v2.Compose(steps))


def torch_loader(paths: list[str], size: int) -> tuple[str, Iterator[Any]]:
    """PyTorch's loader with Pillow and NumPy."""
    return "torch DataLoader and Pillow, 2 worker processes", loader(paths, size, random_crop)


def random_crop(image: Image.Image) -> Any:
    """Returns a random crop, mirrored every other time, as a tensor of channels first."""
    import torch  # pyright: ignore[reportMissingImports]

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


def loader(
    paths: list[str], size: int, transform: Callable[[Image.Image], Any]
) -> Iterator[tuple[Any, Any]]:
    """Returns the endless batches of a `torch.utils.data.DataLoader`."""
    from torch.utils.data import DataLoader  # pyright: ignore[reportMissingImports]

    def forever() -> Iterator[tuple[Any, Any]]:
        while True:
            yield from batches

    batches = DataLoader(
        PhotoFiles(paths * 64, transform),  # pyright: ignore[reportArgumentType]
        size,
        shuffle=True,
        num_workers=CORES,
        drop_last=True,
        persistent_workers=True,
        multiprocessing_context="spawn",
    )
    return forever()


def tf_data(paths: list[str], size: int) -> tuple[str, Iterator[Any]]:
    """tf.data with its fused decoding and cropping, two parallel calls."""
    import tensorflow as tf  # pyright: ignore[reportMissingImports]

    def read(path: Any) -> Any:
        corner = tf.random.uniform([2], 0, 256 - IMAGE_SIZE + 1, tf.int32)
        window = tf.concat([corner, [IMAGE_SIZE, IMAGE_SIZE]], 0)
        data = tf.io.read_file(path)
        # As exact as the others' decoding; its default is the fast, inexact transform.
        image = tf.io.decode_and_crop_jpeg(data, window, 3, dct_method="INTEGER_ACCURATE")
        return tf.image.random_flip_left_right(image)

    photos = tf.data.Dataset.from_tensor_slices(paths).shuffle(len(paths)).repeat()
    photos = photos.map(read, num_parallel_calls=CORES).batch(size).prefetch(CORES)
    return "tf.data, 2 parallel calls", photos.as_numpy_iterator()


def compete(contestants: list[Contestant], rounds: int) -> list[dict[str, Any]]:
    """Measures in turns; returns a row per contestant: medians, smallest and largest."""
    measured: dict[str, list[tuple[float, float]]] = {c.name: [] for c in contestants}
    for number in range(rounds + 1):
        for contestant in contestants:
            contestant.warm_up()
            cpu, wall = time.process_time(), time.perf_counter()
            contestant.turn()
            taken = time.perf_counter() - wall, time.process_time() - cpu
            time.sleep(SETTLE_SECONDS)
            if number:  # the first round starts processes and fills the page cache
                measured[contestant.name].append(taken)
    rows = []
    for contestant in contestants:
        walls, cpus = zip(*measured[contestant.name], strict=True)
        rates = [contestant.images / wall for wall in walls]
        row = {
            "name": contestant.name,
            "images_per_second": round(statistics.median(rates), 1),
            "min": round(min(rates), 1),
            "max": round(max(rates), 1),
        }
        if contestant.one_process:
            cpu = statistics.median(cpus) / contestant.images
            row["cpu_microseconds_per_image"] = round(1e6 * cpu, 1)
        rows.append(row)
    for threads in ("2 threads", "1 thread"):
        add_ratios(rows, f"ours, {threads}", f"bare decode, {threads}")
    return rows


def add_ratios(rows: list[dict[str, Any]], name: str, bound: str) -> None:
    """Adds to the row `name` how near it comes to the row `bound`."""
    by_name = {row["name"]: row for row in rows}
    ours, best = by_name[name], by_name[bound]
    ours["of_the_bound"] = round(ours["images_per_second"] / best["images_per_second"], 3)
    cpu = "cpu_microseconds_per_image"
    ours["of_the_bound_by_cpu_time"] = round(best[cpu] / ours[cpu], 3)


def feeding(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Estimates how many cores read as fast as one H100 trains."""
    rates = {row["name"]: row["images_per_second"] for row in rows}
    per_core = {"jpeg": rates["ours, 1 thread"], "raw": rates["ours, raw store, 1 thread"]}
    estimates = {}
    for kind, peak in H100_FLOP_PER_SECOND.items():
        images = peak * UTILISATION / TRAINING_FLOP
        estimates[kind] = {
            "h100_images_per_second": round(images),
            "cores": {store: round(images / rate, 1) for store, rate in per_core.items()},
        }
    return {
        "arithmetic": "peak FLOP/s x utilisation / FLOP per image / images/s of one core",
        "training_flop_per_image": TRAINING_FLOP,
        "peak_flop_per_second": H100_FLOP_PER_SECOND,
        "assumed_utilisation": UTILISATION,
        "images_per_second_per_core": per_core,
        "estimates": estimates,
    }


def mean_bytes(split: Split) -> int:
    """Returns the mean length of the first stored images."""
    return round(np.mean([len(split.stored_bytes(i)) for i in range(min(256, len(split)))]))


def show(result: dict[str, Any]) -> None:
    """Prints the table."""
    for row in result["rows"]:
        cpu = row.get("cpu_microseconds_per_image", "")
        share = row.get("of_the_bound", "")
        share = f"{share} of the bound ({row['of_the_bound_by_cpu_time']} by CPU)" if share else ""
        span = f"{row['min']:,.0f}-{row['max']:,.0f}"
        rate = f"{row['images_per_second']:8,.0f} ({span}) images/s"
        print(f"{row['name']:48} {rate}  {cpu}  {share}")
    for name, reason in result["skipped"].items():
        print(f"{name:48} {reason}")
    for kind, estimate in result["feeding_one_h100"]["estimates"].items():
        print(f"an H100 in {kind}: {estimate}")


if __name__ == "__main__":
    main()
