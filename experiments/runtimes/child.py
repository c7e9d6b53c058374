"""Runs files in one runtime, inside the runtime's environment; `environments.py` starts it.

    python -m experiments.runtimes.child JOBS

JOBS is a file: `{"adapter", "option", "jobs": [{"file", "images", "batch_sizes", "result"}]}`. Each
result is written as RESULT.npy, float32 `[batch sizes, n, classes]`, all images in batches of each
size; or as RESULT.txt, what the runtime says to a file that it refuses.
"""

import importlib
import json
import re
import sys
from pathlib import Path

import numpy as np

LENGTH = 240


def run_job(adapter, option, job):
    images = np.load(job["images"], mmap_mode="r")
    module = importlib.import_module("experiments.runtimes.adapters.with_" + adapter)
    run = module.load(job["file"], option)
    logits = []
    for size in job["batch_sizes"]:
        starts = range(0, len(images), size)
        batches = [np.ascontiguousarray(images[start : start + size]) for start in starts]
        results = [np.array(run(batch), np.float32).reshape(len(batch), -1) for batch in batches]
        logits.append(np.concatenate(results))
    return np.stack(logits)


def main(path):
    work = json.loads(Path(path).read_text())
    for job in work["jobs"]:
        try:
            np.save(job["result"] + ".npy", run_job(work["adapter"], work["option"], job))
        except Exception as error:
            words = re.sub(r"/\S+/", "", str(error)).split()  # without the places of sources
            text = " ".join([type(error).__name__ + ":", *words])[:LENGTH]
            Path(job["result"] + ".txt").write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
