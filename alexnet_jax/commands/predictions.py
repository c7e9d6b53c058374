"""Verbs that apply a run to images: predict, features."""

import sys
from dataclasses import dataclass
from typing import Literal

import tyro

from alexnet_jax.appearance import Colours, Orientation
from alexnet_jax.commands.options import AbsolutePath, Flag, RunOptions


@dataclass(frozen=True, kw_only=True)
class ImageOptions(RunOptions):
    """Options of verbs that read images.

    Attributes:
      images: files, folders, zips or glob patterns; -: an image on standard input.
      orientation: upright: turn photos as their EXIF says; stored: keep the pixels as they are in
        the file; by default as in training.
      colours: shown: as a viewer shows photos, with their colour profile and on white where they
        are transparent; stored: the numbers in the file; by default as in training.
    """

    images: tyro.conf.Positional[tuple[str, ...]]
    orientation: Orientation | None = None
    colours: Colours | None = None


@dataclass(frozen=True, kw_only=True)
class Predict(ImageOptions):
    """Predict the classes of images, with probabilities.

    Example:
      alexnet predict --workdir runs/a photos/ "holiday/*.jpg" --top-k 3 --format csv
      alexnet predict --workdir runs/a photos/ --explain pictures
      alexnet predict --workdir runs/a test1.zip --format submission --output submission.csv

    Attributes:
      top_k: classes per image, the most probable first.
      views: 1: the centre; 10: corners and centre with their mirror images, averaged. Equal views
        count once, and mirror images are left out where training had none.
      compute_dtype: type of the activations; by default as in training.
      format: how to print. submission: for competitions, a row id,label for every image.
        The id is the file's name without its ending. The label is 0 or 1 (two classes, in the
        order of their names), or the name of the class (more classes).
      probability_of: of a submission: the label is the probability of this class.
      output: file to write instead of printing.
      explain: new folder for pictures, a PNG per image: the centre view, and what in it speaks for
        the first answer, by saliency (the gradient), Grad-CAM (the last convolution) and occlusion
        (the fall of the probability under a grey square). The darker, the more.
    """

    top_k: int = 5
    views: Literal[1, 10] = 1
    compute_dtype: Literal["float32", "bfloat16"] | None = None
    format: Literal["table", "csv", "json", "submission"] = "table"
    probability_of: str = ""
    output: AbsolutePath | None = None
    explain: AbsolutePath | None = None

    def run(self) -> int:
        from alexnet_jax.insight import inference

        result = inference.predict_files(
            self.workdir,
            self.images,
            checkpoint=self.checkpoint,
            top_k=self.top_k,
            views=self.views,
            form=self.format,
            probability_of=self.probability_of,
            output=self.output,
            orientation=self.orientation,
            colours=self.colours,
            compute_dtype=self.compute_dtype or "",
            explain=self.explain,
        )
        return _show(result.text, result.notes(), result.complaint())


@dataclass(frozen=True, kw_only=True)
class Features(ImageOptions):
    """Write activations for images: of one layer to an .npz file, of several layers to a folder.

    Example:
      alexnet features --workdir runs/a --layer fc7 photos/ --output features.npz
      alexnet features --workdir runs/a --layer conv1:linear,pool5,fc7 photos/ --output features

    Attributes:
      layer: conv1, pool1, fc7, ... A wrong name prints the list of names. conv1 is after its
        ReLU, conv1:linear before it. Several names, separated by commas, are computed in one pass.
      output: .npz file to write: features, one row per image, and the images' names. With several
        layers a folder: a .npy file per layer, written step by step, for any number of images. The
        same command continues where it was stopped.
      before_relu: take the layer's sums, before its nonlinearity.
      stream: write a folder for one layer, too.
    """

    layer: str = "fc7"
    output: AbsolutePath
    before_relu: Flag = False
    stream: Flag = False

    def run(self) -> int:
        from alexnet_jax.insight import inference

        result = inference.write_features(
            self.workdir,
            self.images,
            self.output,
            layer=self.layer,
            before_relu=self.before_relu,
            checkpoint=self.checkpoint,
            orientation=self.orientation,
            colours=self.colours,
            stream=self.stream,
        )
        return _show(result.text, result.notes(), result.complaint())


def _show(text: str, notes: str, complaint: str) -> int:
    """Prints a result on stdout, notes and complaint on stderr; returns 1 for a complaint."""
    print(text, end="", flush=True)
    print(notes + complaint, end="", file=sys.stderr)
    return 1 if complaint else 0
