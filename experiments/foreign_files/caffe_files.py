"""Are copies of Caffe's networks the same here? `.npy` by NumPy, `.mat` by Octave and SciPy.

    python -m experiments.foreign_files.caffe_files   # minutes; installs PyTorch, needs Octave

Neither caffe-tensorflow nor MatConvNet can run here (an old TensorFlow; MATLAB): arrays are laid
out by their sources and written by the libraries that wrote the published files, and the logits are
those of Caffe's arithmetic in PyTorch. Writes `results/caffe.json` and the table of the page.
"""

import json
import os
import shutil
from pathlib import Path

from experiments.foreign_files import proof

REQUIREMENTS = ("torch==2.13.0", "numpy==2.4.6", "scipy==1.17.1")
OLD_NUMPY = "numpy==1.8.2"
FILES = {
    "old.npy": "a dictionary of lists, numpy.save of Python 2.7",
    "new.npy": "the same, NumPy of today",
    "v7.mat": "a SimpleNN, save -v7 of Octave",
    "v6.mat": "the same, save -v6",
    "scipy.mat": "the same, scipy.io.savemat, as MatConvNet's own converter",
}


def main() -> None:
    parser = proof.options(__doc__, "caffe")
    arguments = parser.parse_args()
    octave, old = shutil.which("octave-cli"), _find_python2()
    if not octave or not old:
        parser.error("Octave and Python 2.7 are needed: apt-get install octave; pyenv install 2.7")
    writers = proof.HERE / "writers"
    with proof.scratch(arguments) as folder:
        python = proof.install(folder / "caffe", "3.11", REQUIREMENTS)
        target = folder / "numpy27"
        if not target.exists():
            proof.run([old, "-m", "pip", "install", "--quiet", "--target", target, OLD_NUMPY])
        proof.run([python, writers / "write_caffe.py"], folder)
        npy = ["-c", (writers / "write_npy.py").read_text("utf-8")]
        proof.run([python, *npy, "new.npy"], folder)
        proof.run([old, *npy, "old.npy"], folder, PYTHONPATH=str(target))
        proof.run([octave, "--no-gui", writers / "write_matconvnet.m"], folder)
        versions = {}
        for path in sorted(folder.glob("versions_*.json")):
            versions |= json.loads(path.read_text("utf-8"))
        (folder / "versions.json").write_text(json.dumps(versions), "utf-8")
        rows = proof.compare(folder, FILES)
        proof.record(arguments.output, "Copies of Caffe's networks", folder, rows)


def _find_python2() -> str:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [str(path) for path in root.glob("versions/2.7.*/bin/python")]
    return (found or [shutil.which("python2.7") or ""])[0]


if __name__ == "__main__":
    main()
