"""Image files through a run: the commands `predict` and `features`."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from alexnet_jax.appearance import Colours, Orientation
from alexnet_jax.display import Count, Display
from alexnet_jax.errors import InputError, printable
from alexnet_jax.files import write_text
from alexnet_jax.insight.classifier import Classifier, classifier_of, load
from alexnet_jax.insight.explanation_pictures import check_folder, write_explanations
from alexnet_jax.insight.feature_files import check_features_path, save_features, stream_features
from alexnet_jax.insight.image_files import ImageList, NotTaken, find_images
from alexnet_jax.insight.images import Unreadable, UserImage
from alexnet_jax.insight.prediction_text import (
    FORMATS,
    format_predictions,
    format_submission,
    submission_column,
    submission_ids,
)
from alexnet_jax.runs.run_weights import load_weights

MAX_NOTES = 20
SUBMISSION = "submission"


class FilesResult(NamedTuple):
    """What a command has to say: `text` for standard output, and what is wrong with the files."""

    text: str
    missing: list[str]
    unreadable: list[Unreadable]
    not_taken: list[NotTaken]

    def complaint(self) -> str:
        """Returns one line per missing or unreadable image, for standard error; empty if none."""
        lines = self.missing + [f"{x.name} cannot be read: {x.reason}" for x in self.unreadable]
        return "".join(f"{printable(line)}\n" for line in lines)

    def notes(self) -> str:
        """Returns at most `MAX_NOTES` lines on files that were not taken, and how many more."""
        lines = [f"not taken: {x.name} ({x.reason})" for x in self.not_taken]
        if len(lines) > MAX_NOTES:
            lines[MAX_NOTES:] = [f"not taken: {len(lines) - MAX_NOTES:,} more"]
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
    explain: str | Path | None = None,
) -> FilesResult:
    """Predicts files, folders, zips and globs; a missing or bad image does not stop the others.

    `form` is `table`, `csv`, `json` or `submission`, where such an image is an error: it needs all
    rows. Of a submission, `probability_of` is the class whose probability it gives, instead of the
    likeliest class. `output` may not exist. `explain` is a new folder for a picture of each image,
    with maps of what speaks for its first answer.
    """
    forms = (*FORMATS, SUBMISSION)
    if form not in forms:
        raise InputError(f"--format should be one of {', '.join(forms)}, not '{form}'")
    if probability_of and form != SUBMISSION:
        raise InputError("--probability-of has no effect without --format submission")
    if output is not None and Path(output).exists():
        raise InputError(f"{output} exists already; remove it or choose another --output")
    if explain is not None:
        if form == SUBMISSION:
            raise InputError("--explain has no effect with --format submission; choose another")
        check_folder(Path(explain))
    files = find_images(patterns)
    classifier = load(workdir, checkpoint, compute_dtype, orientation, colours)
    unreadable: list[Unreadable] = []
    written: list[Path] = []
    if form == SUBMISSION:
        names, text = files.names, _make_submission(files, classifier, views, probability_of)
    else:
        predictions = classifier.predict(files.images, top_k, views, unreadable)
        left_out = {bad.index for bad in unreadable}
        names, unreadable = files.by_name(unreadable)
        text = format_predictions(names, predictions, form)
        if explain is not None:
            images = [image for i, image in enumerate(files.images) if i not in left_out]
            labels = [answers[0].index for answers in predictions]
            written = _explain(classifier, images, names, labels, Path(explain))
    if output is not None:
        _write_answers(Path(output), text)
        text = f"wrote answers for {len(names):,} images to {output}\n"
    if form == "table" or output is not None:
        text += "".join(f"wrote {path}\n" for path in written)
    return FilesResult(text, files.missing, unreadable, files.not_taken)


def _explain(
    classifier: Classifier,
    images: Sequence[UserImage],
    names: Sequence[str],
    labels: Sequence[int],
    folder: Path,
) -> list[Path]:
    progress = Count(Display.on_stderr(), "explain", len(images))
    try:
        return write_explanations(classifier, images, names, labels, folder, progress.show)
    finally:
        progress.close()


def _make_submission(
    files: ImageList, classifier: Classifier, views: int, probability_of: str
) -> str:
    if files.missing:
        raise InputError(f"a submission needs all of its images: {'; '.join(files.missing)}")
    ids = submission_ids(files.names)
    column = submission_column(classifier.class_names, probability_of)
    bad: list[Unreadable] = []
    probabilities = classifier.probabilities(files.images, views, bad)
    _, unreadable = files.by_name(bad)
    if unreadable:
        first = unreadable[0]
        raise InputError(
            f"a submission needs a row for every image, and {len(unreadable):,} of "
            f"{len(files.images):,} cannot be read, e.g. {first.name}: {first.reason}; repair "
            "them, or do not name them"
        )
    return format_submission(ids, probabilities, classifier.class_names, column)


def _write_answers(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None


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
    """Writes a new `.npz`; for several layers (commas) or `stream` a folder of `.npy` files."""
    layers = [name.strip() for name in layer.split(",")]
    if stream or len(layers) > 1:
        if before_relu:
            layers = [f"{name}:linear" for name in layers]
        return _stream(workdir, patterns, output, layers, checkpoint, orientation, colours)
    check_features_path(output)
    files = find_images(patterns)
    classifier = load(workdir, checkpoint, orientation=orientation, colours=colours)
    bad: list[Unreadable] = []
    features = classifier.features(files.images, layer, before_relu, bad)
    names, unreadable = files.by_name(bad)
    if not names:
        first = unreadable[0]
        count = len(files.images)
        raise InputError(f"none of {count} files can be read, e.g. {first.name}: {first.reason}")
    source = f"{classifier.network.name}, run {Path(workdir).name}, checkpoint {checkpoint}"
    what = f"{layer} before its nonlinearity" if before_relu else layer
    written = save_features(output, features, names, what, source)
    shape = "x".join(map(str, features.shape[1:]))
    text = f"wrote {what} of {len(features):,} images ({shape} each) to {written}\n"
    return FilesResult(text, files.missing, unreadable, files.not_taken)


def _stream(
    workdir: str | Path,
    patterns: Iterable[str],
    output: str | Path,
    layers: list[str],
    checkpoint: str | int,
    orientation: Orientation | None,
    colours: Colours | None,
) -> FilesResult:
    if Path(output).suffix:
        raise InputError(
            f"--output {output}: several layers, or --stream, need the name of a folder, which "
            "will hold one .npy file per layer"
        )
    files = find_images(patterns)
    weights = load_weights(workdir, checkpoint)
    classifier = classifier_of(weights, orientation=orientation, colours=colours)
    source = f"run {weights.run.info.get('run_id', Path(workdir).name)}, step {weights.step}"
    source += f", orientation {classifier.appearance.orientation}"
    source += f", colours {classifier.appearance.colours}"
    progress = Count(Display.on_stderr(), "features", len(files.images))
    try:
        unreadable = stream_features(
            classifier, files.images, files.names, output, layers, source=source, show=progress.show
        )
    finally:
        progress.close()
    text = f"wrote {', '.join(layers)} of {len(files.images):,} images to {output}\n"
    return FilesResult(text, files.missing, unreadable, files.not_taken)
