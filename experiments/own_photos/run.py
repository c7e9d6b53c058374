"""Times the way of a new user with 2 x 300 photos, from a tar to predictions.

python -m experiments.own_photos.run --data CATS_VS_DOGS --weights ALEXNET.pth --scratch FOLDER

`--data` is a folder with train.tar.gz and test.tar.gz of class folders, as in cats vs dogs; 300
training photos of each class are used, and all test photos. `--weights` are torchvision's; the
convolutions are enough. Without it only the way without a trunk is timed.
"""

import io
import re
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alexnet_jax.runs.metrics_log import read_rows
from experiments import pages, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import write

RECORD = Path(__file__).parent / "results" / "own_photos.json"
EACH = 300
KEPT_LINES = ("photos ", "balance", "sizes", "chosen", "test error", "imported", "trained")


def photos_of(archive: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yields class, file name and bytes of each photo of a tar."""
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member)  # None: a folder
            if file is not None and member.name.lower().endswith((".jpg", ".jpeg")):
                kind, name = member.name.split("/")[-2:]
                yield kind, name, file.read()


def write_tar(source: Path, target: Path, each: int = EACH) -> dict[str, dict[str, int]]:
    """Writes `train/CLASS/*` with the first `each` photos per class, and `test/CLASS/*` with all.

    `source` has train.tar.gz and test.tar.gz. Returns the number of photos by split and class.
    """
    counts: dict[str, Counter[str]] = {"train": Counter(), "test": Counter()}
    with tarfile.open(target, "w") as out:
        for split, count in counts.items():
            for kind, name, photo in photos_of(source / f"{split}.tar.gz"):
                if split == "train" and count[kind] == each:
                    continue
                count[kind] += 1
                entry = tarfile.TarInfo(f"{split}/{kind}/{name}")
                entry.size = len(photo)
                out.addfile(entry, io.BytesIO(photo))
    return {split: dict(count) for split, count in counts.items()}


def timed(words: list[str], folder: Path, kept: tuple[str, ...] = KEPT_LINES) -> dict[str, Any]:
    """Runs a verb in a folder; returns command, seconds, and the lines that begin as `kept`."""
    command = [sys.executable, "-m", "alexnet_jax.main", *words]
    begin = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = round(time.monotonic() - begin, 1)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-500:]}")
    said = [line for line in done.stdout.splitlines() if line.startswith(kept)]
    return {"command": "python -m alexnet_jax.main " + " ".join(words), "seconds": seconds,
            "said": [re.sub(r" into \S+:", ":", line) for line in said]}  # fmt: skip


def walk(folder: Path, weights: Path | None) -> list[dict[str, Any]]:
    """Runs the commands in `folder`, which has photos.tar; returns `timed` of each."""
    name = "runs/alone" if weights is None else "runs/photos"
    common = ["--preset", "folder", "--data.source", "photos.tar", "--workdir", name]
    steps = []
    if weights is not None:
        words = ["import-weights", weights.name, "--source", "torchvision", "--workdir", "runs/owt"]
        steps.append(timed(words, folder))
        common += ["--transfer.run", "runs/owt"]
    steps.append(timed(["train", *common, "--data-dir", "data"], folder))
    steps.append(timed(["predict", "--workdir", name, "photo.jpg"], folder))
    return steps


def error_of(workdir: Path) -> dict[str, float]:
    """Returns the errors of the final test, percent, by views."""
    tests = [row for row in read_rows(workdir / "metrics.jsonl") if "test_views" in row]
    return {str(row["test_views"]): 100 * row["final/top1_error"] for row in tests}


def main() -> None:
    parser = programs.parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--scratch", type=Path, required=True, help="an empty folder")
    arguments = parser.parse_args()
    folder = arguments.scratch
    folder.mkdir(parents=True, exist_ok=True)
    photos = write_tar(arguments.data, folder / "photos.tar")
    _, _, photo = next(photos_of(arguments.data / "test.tar.gz"))
    (folder / "photo.jpg").write_bytes(photo)
    record = {"photos": photos, "walks": {}, "errors": {}}
    if arguments.weights:
        (folder / arguments.weights.name).write_bytes(arguments.weights.read_bytes())
        record["walks"]["trunk"] = walk(folder, arguments.weights)
        record["errors"]["trunk"] = error_of(folder / "runs" / "photos")
    record["walks"]["alone"] = walk(folder, None)
    record["errors"]["alone"] = error_of(folder / "runs" / "alone")
    record["environment"] = environment()
    write(RECORD, record)
    pages.write("own_photos")


if __name__ == "__main__":
    main()
