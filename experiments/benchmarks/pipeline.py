"""How fast do training batches come from the disk?

    python -m experiments.benchmarks.pipeline --set FOLDER --raw-set FOLDER
    python -m experiments.benchmarks.pipeline --against CHECKOUT

The first command lets several loaders read 224x224 crops of 256x256 images, each in its turn in
every round; a turn begins after what was read ahead is used up. The bound is libjpeg-turbo alone:
the same JPEGs from memory, decoded by two threads, and dropped. Without prepared sets, synthetic
photos are prepared in a temporary folder.

The second command compares this checkout with another one: processor time per image, both in turns
(A B A B ...), each turn in a process of its own, on sets that the other one prepared.
"""

import contextlib
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
from alexnet_jax.display import Display
from alexnet_jax.preparation.prepare import prepare
from experiments import programs
from experiments.benchmarks import pipeline_checkouts, pipeline_loaders
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import RESULTS, write

CORES = 2
IMAGE_SIZE = pipeline_loaders.IMAGE_SIZE
AUGMENT = AugmentConfig(colour_noise=0.1)
PACKAGES = ("simplejpeg", "pillow", "grain", "array-record", "tensorflow-datasets", "tensorflow")
# A loader goes on reading ahead after its turn; the next turn begins when its queues are full.
SETTLE_SECONDS = 1.0


class Loader(NamedTuple):
    """A way of reading: `images` are read by each call of `turn`.

    `warm_up` uses up what was read ahead; `one_process` says that this process does all the work,
    so that its processor time is known.
    """

    name: str
    images: int
    turn: Callable[[], None]
    warm_up: Callable[[], None]
    one_process: bool = True


def main() -> None:
    parser = programs.parser(__doc__)
    parser.add_argument("--set", type=Path, help="folder of a prepared set stored as JPEG")
    parser.add_argument("--raw-set", type=Path, help="folder of a prepared set stored raw")
    parser.add_argument("--against", type=Path, help="another checkout of this repository")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--batches", type=int, default=8, help="per turn")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=768, help="of the synthetic sets")
    parser.add_argument("--output", type=Path, help="JSON file; default: in results/")
    arguments = parser.parse_args()
    name = "pipeline_against.json" if arguments.against else "pipeline.json"
    output = arguments.output or RESULTS / name
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if arguments.against:
            photos = synthetic_photos(folder, arguments.images)
            other = arguments.against.resolve()
            result = pipeline_checkouts.compare(other, photos, folder, arguments)
        else:
            result = compare_loaders(folder, arguments)
    result = {"environment": environment(PACKAGES), **result}
    for row in result["rows"]:
        print(f"{row['name']:48}", *(f"{k} {v}" for k, v in row.items() if k != "name"), sep="  ")
    for name, reason in result.get("skipped", {}).items():
        print(f"{name:48}  {reason}")
    write(output, result)


def synthetic_photos(folder: Path, count: int) -> Path:
    """Writes photos with detail of every size, as real ones have; returns their folder."""
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
    return folder / "photos"


def synthetic_sets(folder: Path, count: int) -> dict[str, Path]:
    """Prepares synthetic photos at 256 pixels; returns the folders of the sets by store."""
    source = str(synthetic_photos(folder, count))
    return {
        store: prepare(
            DataConfig(store, "folder", source, 256, store),
            folder,
            workers=0,
            display=Display(quiet=True),
        )
        for store in ("jpeg", "raw")
    }


def compare_loaders(temporary: Path, arguments: Any) -> dict[str, Any]:
    """Returns the images per second of this library and of other loaders."""
    made: dict[str, Path] = {}
    if not arguments.set or not arguments.raw_set:
        made = synthetic_sets(temporary, arguments.images)
    jpeg = open_dataset(arguments.set or made["jpeg"], 0).split("train")
    raw = open_dataset(arguments.raw_set or made["raw"], 0).split("train")
    lengths = [len(jpeg.stored_bytes(i)) for i in range(min(256, len(jpeg)))]
    with contextlib.ExitStack() as stack:
        contestants, skipped = enter(stack, temporary, jpeg, raw, arguments)
        rows = compete(contestants, arguments.rounds)
    return {
        "question": "images/s of whole training batches, two cores",
        "sets": {
            "jpeg": jpeg.path.name if arguments.set else "synthetic",
            "raw": raw.path.name if arguments.raw_set else "synthetic",
            "jpeg_bytes_per_image": round(statistics.mean(lengths)),
        },
        "batch_size": arguments.batch_size,
        "rounds": arguments.rounds,
        "rows": rows,
        "skipped": skipped,
    }


def enter(
    stack: contextlib.ExitStack, temporary: Path, jpeg: Split, raw: Split, arguments: Any
) -> tuple[list[Loader], dict[str, str]]:
    """Returns who competes, and why the others do not."""
    size, batches = arguments.batch_size, arguments.batches

    def ours(name: str, split: Split, **options: Any) -> Loader:
        batches_of_ours = training_batches(
            split, seed=0, batch_size=size, image_size=IMAGE_SIZE, augment=AUGMENT, **options
        )
        iterator = stack.enter_context(contextlib.closing(batches_of_ours))
        return endless(name, iterator, size, batches, one_process=not options.get("workers"))

    count = min(jpeg.num_examples, size * batches)
    encoded = [jpeg.stored_bytes(index) for index in range(count)]
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
    for loader in pipeline_loaders.LOADERS:
        try:
            name, iterator = loader(paths, size, CORES)
        except ImportError as error:
            skipped[loader.__name__] = f"not installed: {error.name}"
        else:
            contestants.append(endless(name, iterator, size, batches, one_process=False))
    return contestants, skipped


def endless(
    name: str, iterator: Iterator[Any], size: int, batches: int, one_process: bool
) -> Loader:
    """Returns a contestant that takes batches from an endless iterator."""

    def take(count: int) -> None:
        for _ in range(count):
            next(iterator)

    # What lies ready or is being made: with threads, CORES + 2; with processes, more in all queues.
    ahead = 3 * CORES if one_process else 8 * CORES
    return Loader(name, size * batches, lambda: take(batches), lambda: take(ahead), one_process)


def bare(name: str, encoded: list[bytes], threads: int) -> Loader:
    """Returns the bound: decoding alone."""

    def decode(part: list[bytes]) -> None:
        scratch = np.empty((256, 256, 3), np.uint8)
        for data in part:
            decode_jpeg(data, scratch)

    def turn() -> None:
        list(pool.map(decode, [encoded[i::threads] for i in range(threads)]))

    pool = ThreadPoolExecutor(threads)
    return Loader(name, len(encoded), turn, lambda: decode(encoded[:16]))


def compete(contestants: list[Loader], rounds: int) -> list[dict[str, Any]]:
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
    rows: dict[str, dict[str, Any]] = {}
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
        rows[contestant.name] = row
    for threads in ("2 threads", "1 thread"):
        ours, bound = rows[f"ours, {threads}"], rows[f"bare decode, {threads}"]
        rate, cpu = "images_per_second", "cpu_microseconds_per_image"
        ours["of_the_bound"] = round(ours[rate] / bound[rate], 3)
        ours["of_the_bound_by_cpu_time"] = round(bound[cpu] / ours[cpu], 3)
    return list(rows.values())


if __name__ == "__main__":
    main()
