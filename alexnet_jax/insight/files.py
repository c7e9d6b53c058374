"""Image files through a run: what the verbs `predict` and `features` do."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from alexnet_jax.errors import InputError
from alexnet_jax.insight.classifier import load
from alexnet_jax.insight.images import Unreadable, expand_images
from alexnet_jax.insight.tables import (
    FORMATS,
    check_features_path,
    format_predictions,
    printable,
    save_features,
)


class FilesResult(NamedTuple):
    """What to tell the user.

    Attributes:
      text: for standard output.
      unreadable: files that were left out.
    """

    text: str
    unreadable: list[Unreadable]

    def complaint(self) -> str:
        """Returns one line per unreadable file, for standard error; empty if there is none."""
        return "".join(
            f"{printable(bad.name)} cannot be read: {bad.reason}\n" for bad in self.unreadable
        )


def predict_files(
    workdir: str | Path,
    patterns: Iterable[str],
    *,
    checkpoint: str | int = "best",
    top_k: int = 5,
    views: int = 1,
    form: str = "table",
    compute_dtype: str = "",
) -> FilesResult:
    """Predicts files, folders and globs; a file that cannot be read does not stop the others.

    Args:
      workdir: run folder.
      patterns: see `expand_images`.
      checkpoint: `best`, `last` or a step.
      top_k: answers per image.
      views: 1 or 10.
      form: `table`, `csv` or `json`.
      compute_dtype: see `classifier.load`.

    Raises:
      InputError: no such run, format or files.
      CheckpointError: no usable checkpoint.
    """
    if form not in FORMATS:
        raise InputError(f"--format should be one of {', '.join(FORMATS)}, not '{form}'")
    paths = expand_images(patterns)
    unreadable: list[Unreadable] = []
    classifier = load(workdir, checkpoint, compute_dtype)
    predictions = classifier.predict(paths, top_k, views, unreadable)
    return FilesResult(
        format_predictions(_readable(paths, unreadable), predictions, form), unreadable
    )


def write_features(
    workdir: str | Path,
    patterns: Iterable[str],
    output: str | Path,
    *,
    layer: str = "fc7",
    before_relu: bool = False,
    checkpoint: str | int = "best",
) -> FilesResult:
    """Writes one layer's activations for files, folders and globs to a new `.npz` file.

    Args:
      workdir: run folder.
      patterns: see `expand_images`.
      output: see `tables.save_features`.
      layer: see `Classifier.features`.
      before_relu: see `Classifier.features`.
      checkpoint: `best`, `last` or a step.

    Raises:
      InputError: no such run, layer or files, no file is readable, or `output` exists.
      CheckpointError: no usable checkpoint.
    """
    check_features_path(output)
    paths = expand_images(patterns)
    classifier = load(workdir, checkpoint)
    unreadable: list[Unreadable] = []
    features = classifier.features(paths, layer, before_relu, unreadable)
    if not len(features):
        bad = unreadable[0]
        raise InputError(f"none of {len(paths)} files can be read, e.g. {bad.name}: {bad.reason}")
    source = f"{classifier.network.name}, run {Path(workdir).name}, checkpoint {checkpoint}"
    what = f"{layer} before its nonlinearity" if before_relu else layer
    written = save_features(output, features, _readable(paths, unreadable), what, source)
    shape = "x".join(map(str, features.shape[1:]))
    text = f"wrote {what} of {len(features):,} images ({shape} each) to {written}\n"
    return FilesResult(text, unreadable)


def _readable(paths: Sequence[Path], unreadable: Sequence[Unreadable]) -> list[str]:
    left_out = {bad.index for bad in unreadable}
    return [str(path) for index, path in enumerate(paths) if index not in left_out]
