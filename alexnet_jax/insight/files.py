"""Image files through a run: what the verbs `predict` and `features` do."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from alexnet_jax.config import Colours, Orientation
from alexnet_jax.data.decode import BadImageError
from alexnet_jax.errors import InputError, printable
from alexnet_jax.files import write_text
from alexnet_jax.insight.classifier import Classifier, classifier_of, load
from alexnet_jax.insight.images import (
    NotTaken,
    Unreadable,
    expand_images,
    images_in_zip,
    is_zip,
    within_limit,
)
from alexnet_jax.insight.streaming import stream_features
from alexnet_jax.insight.submission import format_submission, submission_column, submission_ids
from alexnet_jax.insight.tables import (
    FORMATS,
    check_features_path,
    format_predictions,
    save_features,
)
from alexnet_jax.locations import readable
from alexnet_jax.preparation.progress import ProgressLine
from alexnet_jax.preparation.sources.tree import Entry
from alexnet_jax.runs.weights import load_weights

_MOST_NOTES = 20
_STANDARD_INPUT = "-"
_SUBMISSION = "submission"


class FilesResult(NamedTuple):
    """What to tell the user.

    Attributes:
      text: for standard output.
      missing: one line per pattern that names no file or image.
      unreadable: files that were left out.
      not_taken: what the named folders hold besides.
    """

    text: str
    missing: list[str]
    unreadable: list[Unreadable]
    not_taken: list[NotTaken]

    def complaint(self) -> str:
        """Returns one line per missing or unreadable image, for standard error; empty if none."""
        lines = self.missing + [
            f"{bad.name} cannot be read: {bad.reason}" for bad in self.unreadable
        ]
        return "".join(f"{printable(line)}\n" for line in lines)

    def notes(self) -> str:
        """Returns a line on each file that was not taken, at most so many; empty if none."""
        lines = [f"not taken: {left.name} ({left.reason})" for left in self.not_taken]
        more = len(lines) - _MOST_NOTES
        lines = lines[:_MOST_NOTES] + ([f"not taken: {more:,} more"] if more > 0 else [])
        return "".join(f"{printable(line)}\n" for line in lines)


def predict_files(
    workdir: str | Path,
    patterns: Iterable[str],
    *,
    checkpoint: str | int = "best",
    top_k: int = 5,
    views: int = 1,
    form: str = "table",
    probability_of: str = "",
    output: str | Path | None = None,
    orientation: Orientation | None = None,
    colours: Colours | None = None,
    compute_dtype: str = "",
) -> FilesResult:
    """Predicts files, folders, zips and globs; one that is missing or bad stops no others.

    A submission has a row for every file or is not made: there one that is missing or bad is an
    error.

    Args:
      workdir: run folder.
      patterns: see `expand_images`; `-` is an image on standard input.
      checkpoint: `best`, `last` or a step.
      top_k: answers per image.
      views: 1 or 10.
      form: `table`, `csv`, `json`, or `submission` as competitions want it.
      probability_of: for a submission: class whose probability is told, not the likeliest class.
      output: file to write the answers to; nothing may exist there.
      orientation: see `classifier.load`.
      colours: see `classifier.load`.
      compute_dtype: see `classifier.load`.

    Raises:
      InputError: no such run, format, class or files; `output` exists; no submission can be made.
      CheckpointError: no usable checkpoint.
    """
    if form not in (*FORMATS, _SUBMISSION):
        known = ", ".join((*FORMATS, _SUBMISSION))
        raise InputError(f"--format should be one of {known}, not '{form}'")
    if probability_of and form != _SUBMISSION:
        raise InputError("--probability-of has no effect without --format submission")
    if output is not None and Path(output).exists():
        raise InputError(f"{output} exists already; remove it or choose another --output")
    asked = _ask(patterns)
    classifier = load(workdir, checkpoint, compute_dtype, orientation, colours)
    if form == _SUBMISSION:
        text, unreadable = _submission(asked, classifier, views, probability_of), []
        count = len(asked.names)
    else:
        bad: list[Unreadable] = []
        predictions = classifier.predict(asked.images, top_k, views, bad)
        names, unreadable = asked.by_name(bad)
        text, count = format_predictions(names, predictions, form), len(names)
    if output is not None:
        text = _written(Path(output), text, count)
    return FilesResult(text, asked.missing, unreadable, asked.not_taken)


def _submission(asked: "_Asked", classifier: Classifier, views: int, probability_of: str) -> str:
    """Returns the text of a submission; raises `InputError` where it would lack a row."""
    if asked.missing:
        raise InputError(f"a submission needs all of its images: {'; '.join(asked.missing)}")
    ids = submission_ids(asked.names)
    column = submission_column(classifier.class_names, probability_of)
    bad: list[Unreadable] = []
    probabilities = classifier.probabilities(asked.images, views, bad)
    _, unreadable = asked.by_name(bad)
    if unreadable:
        first = unreadable[0]
        raise InputError(
            f"a submission needs a row for every image, and {len(unreadable):,} of "
            f"{len(asked.images):,} cannot be read, e.g. {first.name}: {first.reason}; mend them, "
            "or take them out of what you name"
        )
    return format_submission(ids, probabilities, classifier.class_names, column)


def _written(path: Path, text: str, count: int) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    return f"wrote answers for {count:,} images to {path}\n"


def write_features(
    workdir: str | Path,
    patterns: Iterable[str],
    output: str | Path,
    *,
    layer: str = "fc7",
    before_relu: bool = False,
    checkpoint: str | int = "best",
    orientation: Orientation | None = None,
    colours: Colours | None = None,
    stream: bool = False,
) -> FilesResult:
    """Writes activations for files, folders and globs: of one layer to a new `.npz` file.

    Of several layers, or with `stream`, to a folder of `.npy` files as they come; see `streaming`.

    Args:
      workdir: run folder.
      patterns: see `predict_files`.
      output: see `tables.save_features`; or the folder.
      layer: see `Classifier.features`; several with commas between them.
      before_relu: see `Classifier.features`.
      checkpoint: `best`, `last` or a step.
      orientation: see `classifier.load`.
      colours: see `classifier.load`.
      stream: see above.

    Raises:
      InputError: no such run, layer or files, no file is readable, or `output` exists.
      CheckpointError: no usable checkpoint.
    """
    layers = [name.strip() for name in layer.split(",")]
    if stream or len(layers) > 1:
        if before_relu:
            layers = [f"{name}:linear" for name in layers]
        return _stream(workdir, patterns, output, layers, checkpoint, orientation, colours)
    check_features_path(output)
    asked = _ask(patterns)
    classifier = load(workdir, checkpoint, orientation=orientation, colours=colours)
    unreadable: list[Unreadable] = []
    features = classifier.features(asked.images, layer, before_relu, unreadable)
    names, unreadable = asked.by_name(unreadable)
    if not len(features):
        bad = unreadable[0]
        count = len(asked.images)
        raise InputError(f"none of {count} files can be read, e.g. {bad.name}: {bad.reason}")
    source = f"{classifier.network.name}, run {Path(workdir).name}, checkpoint {checkpoint}"
    what = f"{layer} before its nonlinearity" if before_relu else layer
    written = save_features(output, features, names, what, source)
    shape = "x".join(map(str, features.shape[1:]))
    text = f"wrote {what} of {len(features):,} images ({shape} each) to {written}\n"
    return FilesResult(text, asked.missing, unreadable, asked.not_taken)


def _stream(
    workdir: str | Path,
    patterns: Iterable[str],
    output: str | Path,
    layers: list[str],
    checkpoint: str | int,
    orientation: Orientation | None,
    colours: Colours | None,
) -> FilesResult:
    """Writes several layers into a folder."""
    if Path(output).suffix:
        raise InputError(
            f"--output {output}: several layers, or --stream, need the name of a folder, which "
            "will hold one .npy file per layer"
        )
    asked = _ask(patterns)
    weights = load_weights(workdir, checkpoint)
    classifier = classifier_of(weights, orientation=orientation, colours=colours)
    progress = ProgressLine("features", len(asked.images))
    source = f"run {weights.run.info.get('run_id', Path(workdir).name)}, step {weights.step}"
    source += f", orientation {classifier.appearance.orientation}"
    source += f", colours {classifier.appearance.colours}"
    try:
        unreadable = stream_features(
            classifier, asked.images, asked.names, output, layers, source=source, show=progress.show
        )
    finally:
        progress.close()
    text = f"wrote {', '.join(layers)} of {len(asked.images):,} images to {output}\n"
    return FilesResult(text, asked.missing, unreadable, asked.not_taken)


class _Asked(NamedTuple):
    """The images that a command names, what it names in vain, and what lies beside them."""

    names: list[str]
    images: list[Path | Entry | bytes]
    missing: list[str]
    not_taken: list[NotTaken]

    def by_name(self, unreadable: list[Unreadable]) -> tuple[list[str], list[Unreadable]]:
        """Returns the names of the others, and the unreadable ones with their names."""
        left_out = {bad.index for bad in unreadable}
        names = [name for index, name in enumerate(self.names) if index not in left_out]
        return names, [bad._replace(name=self.names[bad.index]) for bad in unreadable]


def _ask(patterns: Iterable[str]) -> _Asked:
    """Finds the images; raises `InputError` where not a single pattern names one."""
    images: dict[Path | str, Path | Entry | bytes] = {}
    missing: list[str] = []
    not_taken: list[NotTaken] = []
    for pattern in patterns:
        if pattern == _STANDARD_INPUT:
            images.setdefault(pattern, _standard_input())
            continue
        try:
            if is_zip(pattern):
                images |= images_in_zip(pattern, not_taken)
            else:
                images |= {path: path for path in expand_images([pattern], not_taken)}
        except InputError as error:
            missing.append(str(error))
    if not images:
        raise InputError("; ".join(missing) or "no images were named; give files or folders")
    return _Asked([readable(name) for name in images], list(images.values()), missing, not_taken)


def _standard_input() -> bytes:
    """Returns what standard input holds; raises `InputError` where that is a keyboard."""
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("- is standard input: pipe an image into it, as in `… predict - < photo`")
    try:
        return within_limit(sys.stdin.buffer)
    except (BadImageError, OSError) as error:
        raise InputError(f"standard input cannot be read: {error}") from None
