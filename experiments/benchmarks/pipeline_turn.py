"""One turn of `pipeline --against`: prints the processor time per image, in microseconds.

It runs with the library of either checkout, so it uses only what both have.
"""

import json
import sys
import time
from pathlib import Path

import alexnet_jax
from alexnet_jax.config import AugmentConfig
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.data.pipeline import training_batches


def main() -> None:
    """Takes its arguments as JSON."""
    checkout, folder, image_size, batch_size, batches = json.loads(sys.argv[1])
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
    seconds = time.process_time() - begin
    print(json.dumps(1e6 * seconds / (batches * batch_size)))


if __name__ == "__main__":
    main()
