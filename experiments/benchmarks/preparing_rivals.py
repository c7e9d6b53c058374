"""Other programs that make squares of photos, for the benchmark `preparing`; knows nothing of us.

python preparing_rivals.py NAME PHOTOS OUTPUT SIZE QUALITY PROCESSES
python preparing_rivals.py NAME --version
"""

import multiprocessing
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

_PACKAGES = {
    "vips": ("pyvips", "pyvips-binary"),
    "img2dataset": ("img2dataset", "albumentations", "opencv-python-headless"),
}


def vips(photos: list[str], output: str, size: int, quality: int, processes: int) -> None:
    """Files by libvips, whose thumbnails are decoded at a half, quarter or eighth where it can."""
    os.environ["VIPS_CONCURRENCY"] = "1"  # threads of a process
    jobs = [(path, f"{output}/{i:06d}.jpg", size, quality) for i, path in enumerate(photos)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for _ in pool.imap_unordered(_vips_square, jobs, chunksize=16):
            pass


def _vips_square(job: tuple[str, str, int, int]) -> None:
    import pyvips  # pyright: ignore[reportMissingImports]

    path, target, size, quality = job
    square: Any = pyvips.Image.thumbnail(path, size, height=size, crop="centre")
    square.jpegsave(target, Q=quality, subsample_mode="on")  # else not subsampled from 90 on


def img2dataset(photos: list[str], output: str, size: int, quality: int, processes: int) -> None:
    """Tars (`webdataset`) by img2dataset, which reads URLs: here those of files."""
    from img2dataset import download  # pyright: ignore[reportMissingImports]

    urls = Path(output) / "urls.txt"
    urls.write_text("".join(f"{Path(path).as_uri()}\n" for path in photos))
    download(
        url_list=str(urls),
        input_format="txt",
        output_folder=f"{output}/tars",
        output_format="webdataset",
        image_size=size,
        resize_mode="center_crop",
        encode_quality=quality,
        processes_count=processes,
        thread_count=2 * processes,
        number_sample_per_shard=128,
        compute_hash=None,
    )


def main() -> None:
    name = sys.argv[1]
    if sys.argv[2] == "--version":
        print(", ".join(f"{package} {version(package)}" for package in _PACKAGES[name]))
        return
    photos = sorted(str(path) for path in Path(sys.argv[2]).rglob("*.jpg"))
    work = {"vips": vips, "img2dataset": img2dataset}[name]
    work(photos, sys.argv[3], *map(int, sys.argv[4:]))


if __name__ == "__main__":
    main()
