"""Is Darknet's AlexNet the same here? Darknet itself, built from Debian's source package.

    python -m experiments.foreign_files.darknet_files   # minutes; needs apt-get, gcc, make

No package registry has Darknet. Debian's package lies beside its sources, which are fetched from
there, checked and built. The files are written in Darknet's order, loaded by it and saved by it
once more; logits are its own, of `cfg/alexnet.cfg` without the softmax. Writes
`results/darknet.json` and the table of the page.
"""

import ctypes
import hashlib
import json
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from experiments.foreign_files import proof

VERSION = "0.0.0+git20180914.61c9d02e"
SHA256 = "ec536ae11853846aab96183d8ec18730a46cce71f7d935768d235029329f9e93"
CONVOLUTIONS = ((96, 3, 11), (256, 96, 5), (384, 256, 3), (384, 384, 3), (256, 384, 3))
DENSE = ((4096, 9216), (4096, 4096), (7, 4096))
FILES = {
    "new": ("header of 20 bytes", (0, 2, 0), False),
    "old": ("header of 16 bytes", (0, 1, 0), False),
    "normalized": ("batch normalization in every layer but the last", (0, 2, 0), True),
}


def build(scratch: Path) -> Path:
    """Returns the folder of Darknet's sources, with `libdarknet.so`."""
    folder = scratch / f"darknet-{VERSION}"
    if (folder / "libdarknet.so").exists():
        return folder
    if not all(map(shutil.which, ("apt-get", "gcc", "make"))):
        raise SystemExit("apt-get, gcc and make are needed, as on Debian or Ubuntu")
    asked = subprocess.run(
        ["apt-get", "download", "--print-uris", "darknet"], capture_output=True, text=True
    )
    package = re.search(r"'(\S+)/darknet_\S+'", asked.stdout)
    if not package:
        raise SystemExit(f"apt-get has no package darknet: {asked.stderr.strip()[-300:]}")
    archive = scratch / f"darknet_{VERSION}.orig.tar.xz"
    urllib.request.urlretrieve(f"{package[1]}/{archive.name}", archive)
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{archive.name} is not the archive of the record")
    shutil.rmtree(scratch / "unpacked", ignore_errors=True)
    with tarfile.open(archive) as opened:
        opened.extractall(scratch / "unpacked", filter="data")
    (root,) = (path.parent for path in (scratch / "unpacked").glob("*/Makefile"))
    proof.run(["make", "-j2", "OPENCV=0", "GPU=0", "libdarknet.so", "obj"], root)
    root.rename(folder)
    return folder


def draw(name: str, header: tuple[int, int, int], normalized: bool, folder: Path) -> None:
    """Writes a file in the order in which `src/parser.c` reads it."""
    rng = np.random.default_rng(0)

    def statistics(count: int) -> list[np.ndarray]:
        if not normalized:
            return []
        scales, variances = (rng.uniform(0.5, 2, count) for _ in range(2))
        return [scales, rng.normal(0, 0.3, count), variances]

    parts = []
    for outputs, inputs, window in CONVOLUTIONS:
        fan_in = inputs * window**2
        weights = rng.normal(0, (2 / fan_in) ** 0.5, outputs * fan_in)
        parts += [rng.normal(0, 0.3, outputs), *statistics(outputs), weights]
    for outputs, inputs in DENSE:
        weights = rng.normal(0, (2 / inputs) ** 0.5, outputs * inputs)
        parts += [rng.normal(0, 0.3, outputs), weights]
        parts += statistics(outputs) if outputs == 4096 else []
    with open(folder / f"{name}.weights", "wb") as file:
        file.write(struct.pack("<3i" + ("i" if header[1] < 2 else "q"), *header, 12345))
        for part in parts:
            file.write(part.astype("<f4").tobytes())


def configure(source: Path, folder: Path) -> None:
    """`cfg/alexnet.cfg` with seven classes and without softmax, plain and normalized."""
    text = (source / "cfg" / "alexnet.cfg").read_text()
    text = text.replace("output=1000", "output=7").replace("[softmax]\ngroups=1\n", "")
    (folder / "plain.cfg").write_text(text)
    text = re.sub(
        r"(\[convolutional\]\n|\[connected\]\n(?=output=4096))", r"\1batch_normalize=1\n", text
    )
    (folder / "normalized.cfg").write_text(text)


def predict(library: Path, config: str, name: str, images: np.ndarray) -> np.ndarray:
    """Darknet's logits; it also saves the weights again."""
    darknet = ctypes.CDLL(str(library))
    floats = ctypes.POINTER(ctypes.c_float)
    darknet.load_network.restype = ctypes.c_void_p
    darknet.load_network.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
    darknet.network_predict.restype = floats
    darknet.network_predict.argtypes = [ctypes.c_void_p, floats]
    darknet.save_weights.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    darknet.set_batch_network.argtypes = [ctypes.c_void_p, ctypes.c_int]
    net = darknet.load_network(config.encode(), f"{name}.weights".encode(), 0)
    darknet.save_weights(net, f"{name}_saved.weights".encode())
    darknet.set_batch_network(net, 1)
    logits = []
    for image in images:
        found = darknet.network_predict(net, image.ctypes.data_as(floats))
        logits.append(np.ctypeslib.as_array(found, (7,)).copy())
    return np.stack(logits)


def prove(folder: Path) -> list[dict[str, Any]]:
    source = build(folder)
    configure(source, folder)
    images = np.random.default_rng(1).uniform(size=(2, 3, 227, 227)).astype(np.float32)
    np.save(folder / "images.npy", images)
    expected, told = {}, {}
    for name, (what, header, normalized) in FILES.items():
        draw(name, header, normalized, folder)
        config = "normalized.cfg" if normalized else "plain.cfg"
        module = ["-m", "experiments.foreign_files.darknet_files"]
        library = source / "libdarknet.so"
        command = [sys.executable, *module, "predict", library, config, name]
        proof.run(command, folder, PYTHONPATH=str(proof.HERE.parents[1]))
        for file, words in ((f"{name}.weights", what), (f"{name}_saved.weights", f"{what}, saved")):
            expected[file], told[file] = np.load(folder / f"{name}.npy"), words
    np.savez(folder / "data.npz", images=images, logits=0, **expected)
    (folder / "versions.json").write_text(json.dumps({"darknet": VERSION}))
    return proof.compare(folder, told)


def main() -> None:
    if sys.argv[1:2] == ["predict"]:  # in a process of its own, for Darknet prints and exits
        library, config, name = sys.argv[2:]
        np.save(f"{name}.npy", predict(Path(library), config, name, np.load("images.npy")))
        return
    arguments = proof.options(__doc__, "darknet").parse_args()
    with proof.scratch(arguments) as folder:
        rows = prove(folder)
        proof.record(arguments.output, "Darknet", folder, rows)


if __name__ == "__main__":
    main()
