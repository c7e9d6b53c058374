"""Takes the pictures of this folder: report and demo page of a run of the digits, in Chromium.

pip install playwright
python -m experiments.gallery.run RUN --chromium /usr/bin/chromium
"""

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.runs.run_folder import read_run
from experiments import programs

HERE = Path(__file__).parent
WIDTH, HEIGHT = 1300, 1500


def save(screenshot: bytes, path: Path) -> None:
    """Writes a PNG screenshot at two thirds of its size, with few colours."""
    picture = Image.open(io.BytesIO(screenshot)).convert("RGB")
    size = (2 * picture.width // 3, 2 * picture.height // 3)
    small = picture.resize(size, Image.Resampling.LANCZOS)
    small.quantize(128).save(path, optimize=True)


def a_digit(workdir: Path, path: Path) -> None:
    """Writes a test image of the run's set."""
    run = read_run(workdir)
    split = open_dataset(run.info["data_path"]).split(run.config.data.validation_split)
    Image.fromarray(split.images([7])[0]).resize((256, 256)).save(path)


def main() -> None:
    parser = programs.parser(__doc__)
    parser.add_argument("run", type=Path, help="finished run of the digits")
    parser.add_argument("--chromium", help="its program (default: Playwright's own)")
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    words = [sys.executable, "-m", "alexnet_jax.main", "demo", "--workdir", str(arguments.run)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([*words, "--port", "0"], stdout=subprocess.PIPE, text=True) as server,
        sync_playwright() as tools,
    ):
        browser = tools.chromium.launch(
            executable_path=arguments.chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto((arguments.run.absolute() / "report.html").as_uri())
            page.evaluate("document.querySelector('dl.next').remove()")  # a path of this machine
            save(page.screenshot(), HERE / "report.png")
            assert server.stdout is not None
            address = server.stdout.readline().split()[0]
            photo = Path(folder) / "digit.png"
            a_digit(arguments.run, photo)
            page.goto(address)
            page.set_input_files("#file", photo)
            page.wait_for_selector("#answers li", timeout=120_000)
            page.wait_for_timeout(500)
            save(page.screenshot(), HERE / "demo.png")
        finally:
            browser.close()
            server.terminate()


if __name__ == "__main__":
    main()
