"""Two checkouts compared by `pipeline --against`: processor time per image, in turns.

A turn is a process of its own, which runs this file with the library of one of the checkouts.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
# Store, size of the stored images and of the crops.
CASES = (("jpeg", 256, 224), ("raw", 72, 64), ("raw", 32, 24))


def compare(other: Path, photos: Path, folder: Path, options: Any) -> dict[str, Any]:
    """Returns the processor time per image of this checkout ("after") and the other ("before").

    The sets are prepared by the other checkout: this one reads older sets.
    """
    rows = []
    for store, stored_size, image_size in CASES:
        name = f"{store}-{stored_size}"
        words = ["prepare", "--source", "folder", photos, "--name", name, "--store", store]
        words += ["--stored-size", stored_size, "--data-dir", folder]
        _run(other, "-m", "alexnet_jax.main", *words)
        times: dict[str, list[float]] = {"before": [], "after": []}
        for _ in range(options.rounds):
            for label, checkout in (("before", other), ("after", CHECKOUT)):
                turn = [folder / name, image_size, options.batch_size, options.batches]
                text = json.dumps([checkout, *turn], default=str)
                times[label].append(float(_run(checkout, __file__, text)))
        ratio = statistics.median(times["after"]) / statistics.median(times["before"])
        for label, measured in times.items():
            rows.append(
                {
                    "name": f"{image_size}-pixel crops of {stored_size}-pixel {store}, {label}",
                    "value": round(statistics.median(measured), 1),
                    "unit": "µs of processor time per image",
                    "low": round(min(measured), 1),
                    "high": round(max(measured), 1),
                }
            )
        rows[-1] |= {"ratio": round(ratio, 3), "note": f"{ratio:.2f} of before"}
    return {
        "question": "processor time per image, one thread, images read from files",
        "before": commit(other),
        "after": commit(CHECKOUT),
        "batch_size": options.batch_size,
        "images_per_turn": options.batch_size * options.batches,
        "rounds": options.rounds,
        "rows": rows,
    }


def _run(checkout: Path, *words: Any) -> str:
    """Runs Python with the library of a checkout; returns what it prints."""
    command = [sys.executable, "-P", *map(str, words)]
    env = os.environ | {"PYTHONPATH": str(checkout)}
    return subprocess.run(
        command, cwd=checkout, env=env, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def turn(checkout: str, folder: str, image_size: int, batch_size: int, batches: int) -> float:
    """Returns the processor time per image in microseconds; uses only what both libraries have."""
    import alexnet_jax
    from alexnet_jax.config import AugmentConfig
    from alexnet_jax.data.dataset import open_dataset
    from alexnet_jax.data.pipeline import training_batches

    assert Path(alexnet_jax.__file__).is_relative_to(checkout), alexnet_jax.__file__
    stream = training_batches(
        open_dataset(folder, cache_bytes=0).split("train"),
        seed=0,
        batch_size=batch_size,
        image_size=image_size,
        augment=AugmentConfig(colour_noise=0.1),
        threads=0,  # each batch is computed in `next`, by this thread
    )
    for _ in range(2):  # imports, opens the files, draws the first order
        next(stream)
    begin = time.process_time()
    for _ in range(batches):
        next(stream)
    return 1e6 * (time.process_time() - begin) / (batches * batch_size)


if __name__ == "__main__":
    print(turn(*json.loads(sys.argv[1])))
