"""How long it takes to see whether a folder of photos has changed since its set was prepared.

    python -m experiments.benchmarks.current_set [--photos 100000]

Small photos are written into a folder of a hundred classes and prepared once. Then, in turns: the
check alone, in a process that runs already, and the whole command `prepare` a second time, which
finds nothing to do. Last, once each: all files with new times and the old contents, and one photo
more. The system has all names in memory, as after recent work with them. CPU seconds say more than
the clock on a busy machine.
"""

import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alexnet_jax.config import DataConfig
from alexnet_jax.data.versions import versions
from alexnet_jax.display import Display
from alexnet_jax.preparation.currency import compare_source
from alexnet_jax.preparation.prepare import prepare
from alexnet_jax.preparation.source_record import SOURCE
from experiments import programs
from experiments.benchmarks.records import RESULTS, row, write_rows

_CLASSES = 100
_OLD = 1_500_000_000


def main() -> None:
    parser = programs.parser(__doc__, RESULTS / "current_set.json")
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows, facts = measure(Path(folder), options.photos, options.rounds)
    question = "Seconds to see whether a folder of photos has changed since its set was prepared."
    write_rows(options.output, question, rows, **facts)


def measure(place: Path, photos: int, rounds: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Returns the rows of the table, and further facts; `place` is an empty folder."""
    data = DataConfig("photos", "folder", str(place / "photos"), stored_size=8, store="raw")
    write_photos(place / "photos", photos)
    folder = prepare(data, place / "data")
    (version,) = versions(folder)

    def check(state: str) -> None:
        found = compare_source(version, data, Display.on_stderr(quiet=True))
        assert found.state == state, found

    def command() -> None:
        words = ["prepare", "--source", "folder", data.source, "--name", data.name]
        words += ["--data-dir", str(place / "data"), "--stored-size", "8", "--store", "raw"]
        root = Path(__file__).resolve().parents[2]
        run = [sys.executable, "-m", "alexnet_jax.main", *words]
        done = subprocess.run(run, cwd=root, check=True, capture_output=True, text=True)
        assert "is prepared already" in done.stderr, done.stderr

    measured: dict[str, list[tuple[float, float]]] = {"check": [], "command": []}
    for _ in range(rounds):
        measured["check"].append(timed(lambda: check("current")))
        measured["command"].append(timed(command))
    size = (folder / SOURCE).stat().st_size
    for path in (place / "photos").rglob("*.png"):
        os.utime(path, (_OLD + 1, _OLD + 1))
    measured["touched"] = [timed(lambda: check("current"))]
    write_photos(place / "photos", 1, "new")
    measured["added"] = [timed(lambda: check("changed"))]
    names = {
        "check": "nothing has changed: the check",
        "command": "nothing has changed: `prepare` as a whole",
        "touched": "all times have changed, no contents",
        "added": "one photo more: found",
    }
    rows = [
        row(f"{photos:,} photos, {names[what]}{more}", [round(pair[i], 2) for pair in pairs])
        for what, pairs in measured.items()
        for i, more in enumerate(("", ", CPU time"))
    ]
    return rows, {"source_bytes_per_photo": round(size / photos, 1)}


def write_photos(root: Path, count: int, prefix: str = "IMG") -> None:
    """Writes small PNG files into class folders, with times of long ago."""
    draw = np.random.default_rng(0)
    for index in range(count):
        file = io.BytesIO()
        Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8)).save(file, "PNG")
        folder = root / f"class{index % _CLASSES:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{prefix}_{index:06d}.png"
        path.write_bytes(file.getvalue())
        os.utime(path, (_OLD, _OLD))


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Returns the seconds that `work` takes, and the CPU seconds of it and its processes."""
    before, started = _cpu_seconds(), time.monotonic()
    work()
    return time.monotonic() - started, _cpu_seconds() - before


def _cpu_seconds() -> float:
    parts = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(part.ru_utime + part.ru_stime for part in parts)


if __name__ == "__main__":
    main()
