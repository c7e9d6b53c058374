"""How fast do folders of photos become a prepared set, beside other programs for the same work?

    python -m experiments.benchmarks.preparing [--photos FOLDER] [--against CHECKOUT]
        [--rivals-python PYTHON]

The work: decode, shorter side to 256, centre 256x256, JPEG of quality 95 with halved colours; one
worker process per core. The rivals store files (libvips) or tars (img2dataset); this library also
checks, hashes and measures what it stores. Each turn is the whole program in a process of its own,
on each set, in turns; a turn with few photos tells how much of that is its start. The search for
copies, which no rival has, is switched off, and measured in a row of its own.

Photos are written once, from those in `--photos` or from noise with detail of every size. Rivals
may be installed for another Python; those that are not are left out.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from alexnet_jax.config import DataConfig
from experiments import programs
from experiments.benchmarks.environment import threads
from experiments.benchmarks.pipeline_checkouts import CHECKOUT, commit
from experiments.benchmarks.records import RESULTS, write_rows

SETS = {"224x224": 1600, "500x375": 800, "1600x1200": 160}
"""Sizes of photos, and how many of them."""
_FEW = 16
_STORED = 256
_QUALITY = DataConfig().jpeg_quality
_RIVALS = ("vips", "img2dataset")
_SCRIPT = Path(__file__).with_name("preparing_rivals.py")
_PACKAGES = ("pillow", "simplejpeg", "array-record", "tensorflow-datasets")


class Contestant(NamedTuple):
    """A program that prepares the photos of a folder into a new folder."""

    name: str
    run: Callable[[Path, Path], None]
    rounds: int


def main() -> None:
    parser = programs.parser(__doc__, RESULTS / "preparing.json")
    parser.add_argument("--photos", type=Path, help="folder of JPEGs to make the photos of")
    parser.add_argument("--against", type=Path, help="another checkout of this repository")
    parser.add_argument("--rivals-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder where the photos stay for another call")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        folders = {
            size: write_photos(options.keep or place, size, count, options.photos)
            for size, count in SETS.items()
        }
        few = write_photos(options.keep or place, "224x224", _FEW, options.photos)
        contestants, versions, skipped = enter(options)
        rows = compete(contestants, folders, few, place / "results")
    write_rows(
        options.output,
        f"images/s from photos to a prepared set, {threads()} cores",
        rows,
        _PACKAGES,
        photos="real ones, resized" if options.photos else "synthetic",
        before=commit(options.against.resolve()) if options.against else "",
        rivals=versions,
        skipped=skipped,
    )


def write_photos(place: Path, size: str, count: int, source: Path | None) -> Path:
    """Writes JPEGs of a size into two class folders, unless they are there; returns the folder."""
    folder = place / f"{size}-{count}"
    if folder.exists():
        return folder
    width, height = map(int, size.split("x"))
    unfinished = place / f"{size}-{count}.part"
    shutil.rmtree(unfinished, ignore_errors=True)
    files = sorted(path for path in source.rglob("*") if path.is_file()) if source else []
    draw = np.random.default_rng(width)
    for index in range(count):
        if files:
            data = resized(files[index * len(files) // count], width, height, draw)
        else:
            data = noise(width, height, draw)
        where = unfinished / f"class{index % 2}"
        where.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data).save(where / f"{index:05d}.jpg", quality=90)
    unfinished.rename(folder)
    return folder


def resized(path: Path, width: int, height: int, draw: np.random.Generator) -> np.ndarray:
    """Returns the middle of a photo, uint8 [height, width, 3], with a camera's noise."""
    with Image.open(path) as image:
        photo = image.convert("RGB")
    scale = min(photo.width / width, photo.height / height)
    part = round(scale * width), round(scale * height)
    left, top = (photo.width - part[0]) // 2, (photo.height - part[1]) // 2
    photo = photo.crop((left, top, left + part[0], top + part[1]))
    photo = photo.resize((width, height), Image.Resampling.LANCZOS)
    grain = draw.normal(0, 4 if scale < 1 else 0, (height, width, 1))
    return np.rint(np.asarray(photo) + grain).clip(0, 255).astype(np.uint8)


def noise(width: int, height: int, draw: np.random.Generator) -> np.ndarray:
    """Returns detail of every size, uint8 [height, width, 3]."""
    photo = np.full((height, width, 3), 128.0)
    for cells in (4, 8, 16, 32, 64, 128, 256):
        scale = 48 * (4 / cells) ** 0.75
        grey = draw.normal(0, scale, (cells, cells, 1))
        colours = draw.normal(0, scale / 3, (cells, cells, 3))
        pixels = Image.fromarray((grey + colours + 128).clip(0, 255).astype(np.uint8))
        photo += np.asarray(pixels.resize((width, height)), float) - 128
    return photo.clip(0, 255).astype(np.uint8)


def enter(options: Any) -> tuple[list[Contestant], dict[str, str], dict[str, str]]:
    """Returns who competes, the versions of the rivals, and why others do not."""

    def ours(name: str, checkout: Path, rounds: int, *more: str) -> Contestant:
        def run(photos: Path, output: Path) -> None:
            words = ["prepare", "--source", "folder", photos, "--name", "set", "--data-dir", output]
            words += ["--stored-size", _STORED, "--workers", threads(), *more]
            call([sys.executable, "-P", "-m", "alexnet_jax.main", *words], PYTHONPATH=str(checkout))

        return Contestant(name, run, rounds)

    def rival(name: str) -> Contestant:
        def run(photos: Path, output: Path) -> None:
            words = [name, photos, output, _STORED, _QUALITY, threads()]
            # A library of img2dataset would ask the network for a newer version of itself.
            call([options.rivals_python, _SCRIPT, *words], NO_ALBUMENTATIONS_UPDATE="1")

        return Contestant(name, run, options.rounds)

    contestants = [ours("prepare", CHECKOUT, options.rounds, "--copies", "ignore")]
    if options.against:
        other = options.against.resolve()
        contestants.append(ours("before", other, options.rounds, "--copies", "ignore"))
    versions, skipped = {}, {}
    for name in _RIVALS:
        words = [options.rivals_python, _SCRIPT, name, "--version"]
        found = subprocess.run(words, capture_output=True, text=True, check=False)
        if found.returncode:
            skipped[name] = f"not installed: {found.stderr.strip().rpartition(': ')[2]}"
        else:
            versions[name] = found.stdout.strip()
            contestants.append(rival(name))
    contestants.append(ours("prepare, copies searched", CHECKOUT, 1))
    return contestants, versions, skipped


def call(words: list[Any], **variables: str) -> None:
    done = subprocess.run(
        [str(word) for word in words], env=os.environ | variables, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{words}: {done.stderr[-2000:]}")


def compete(
    contestants: list[Contestant], folders: dict[str, Path], few: Path, results: Path
) -> list[dict[str, Any]]:
    """Measures in turns; returns a row for each set and contestant."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for number in range(max(contestant.rounds for contestant in contestants)):
        for size, photos in (folders | {"few": few}).items():
            for contestant in contestants:
                if number < contestant.rounds:
                    results.mkdir()
                    begin = time.perf_counter()
                    contestant.run(photos, results)
                    taken = time.perf_counter() - begin
                    seconds.setdefault((size, contestant.name), []).append(taken)
                    shutil.rmtree(results)
                    print(json.dumps([size, contestant.name, round(taken, 2)]), flush=True)
    return [_row(size, contestant.name, seconds) for size in folders for contestant in contestants]


def _row(size: str, name: str, seconds: dict[tuple[str, str], list[float]]) -> dict[str, Any]:
    def times(who: str) -> tuple[float, float]:
        """Returns the seconds of a whole turn, and of a start."""
        return statistics.median(seconds[size, who]), statistics.median(seconds["few", who])

    count = SETS[size]
    rates = [count / value for value in seconds[size, name]]
    median, start = times(name)
    beyond = (count - _FEW) / max(median - start, 1e-9)
    note = f"{beyond:,.0f} images/s beyond the start of {start:.1f} s"
    if name != "prepare":
        our_median, our_start = times("prepare")
        whole, rest = median / our_median, (median - start) / (our_median - our_start)
        note += f"; `prepare` is {whole:.2f} times as fast, {rest:.2f} beyond the start"
    return {
        "name": f"{size}, {name}",
        "value": round(count / median, 1),
        "unit": "images/s",
        "low": round(min(rates), 1),
        "high": round(max(rates), 1),
        "note": note,
        "images": count,
        "start_seconds": round(start, 2),
        "images_per_second_beyond_the_start": round(beyond, 1),
    }


if __name__ == "__main__":
    main()
