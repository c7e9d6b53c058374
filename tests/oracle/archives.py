"""Archives as data sets are handed out: small ones, in the layout of the real ones."""

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.io import savemat

IDS = ["n00000003", "n00000001", "n00000002"]  # by ILSVRC2012_ID; not in WordNet's order
WORDS = ["crane, machine", "crane, bird", "tench"]


def pack(archive, files, mode: Literal["w", "w:gz"] = "w"):
    """Writes a tar of {name: bytes}, in the order given."""
    with tarfile.open(archive, mode) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return archive


def pack_zip(archive, files, links=(), method=zipfile.ZIP_DEFLATED):
    """Writes a zip of {name: bytes} and symbolic links (name, target); returns `archive`."""
    with zipfile.ZipFile(archive, "w", method) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
        for name, target in links:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o120777 << 16  # a link of Unix
            packed.writestr(info, target)
    return archive


def add_links(archive: Path, links):
    """Appends (name, target, `tarfile.SYMTYPE` or `LNKTYPE`) to a tar; returns `archive`."""
    with tarfile.open(archive, "a") as tar:
        for name, target, kind in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    return archive


def write_imagenet2012(root, picture, train=2, devkit=True, validation=True):
    """Writes the three archives of ILSVRC-2012 with 3 classes: a tar of tars, a tar, the devkit.

    Args:
      root: folder to make.
      picture: bytes of an image by its number: 10 times the class (from 1) and more in training,
        from 101 on in validation.
      train: images of each class, 10 at most.
      devkit: whether it is there.
      validation: whether its images are there.
    """
    root.mkdir()
    inner = {}
    for number, wordnet_id in enumerate(IDS, 1):
        images = {f"{wordnet_id}_{i}.JPEG": picture(10 * number + i) for i in range(train)}
        inner[f"{wordnet_id}.tar"] = pack(root / "inner.tar", images).read_bytes()
    (root / "inner.tar").unlink()
    pack(root / "ILSVRC2012_img_train.tar", inner)
    if validation:
        files = {f"ILSVRC2012_val_{i:08d}.JPEG": picture(100 + i) for i in (2, 1, 3)}
        pack(root / "ILSVRC2012_img_val.tar", files)
    if devkit:
        kinds = [("ILSVRC2012_ID", "f8"), ("WNID", "O"), ("words", "O"), ("num_children", "f8")]
        rows = [(i + 1, IDS[i], WORDS[i], 0) for i in (2, 0, 1)] + [(4, "n9", "thing", 3)]
        buffer = io.BytesIO()
        savemat(buffer, {"synsets": np.array(rows, kinds)})
        name = "ILSVRC2012_devkit_t12"
        files = {
            f"{name}/data/meta.mat": buffer.getvalue(),
            f"{name}/data/ILSVRC2012_validation_ground_truth.txt": b"3\n1\n2\n",
        }
        pack(root / f"{name}.tar.gz", files, "w:gz")
    return root
