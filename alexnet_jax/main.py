"""The verbs: one class each, its fields are the options, its docstring is the help.

Libraries that take long to import are imported inside the verbs, so that `--help` is instant.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, get_args, get_type_hints

import tyro

from alexnet_jax import command_line, program, weights
from alexnet_jax.command_line import AbsolutePath, Flag, Options, Processes
from alexnet_jax.config import Config, DataConfig
from alexnet_jax.errors import InputError, did_you_mean
from alexnet_jax.locations import default_data_dir

SOURCES = get_args(get_type_hints(DataConfig)["source_kind"])


@dataclass(frozen=True, kw_only=True)
class Train(Processes, Options):
    """Train a network, or go on where the same command stopped.

    Example:
      alexnet train --workdir runs/cifar --preset cifar10-18pct --optimizer.learning-rate 0.002

    Every field of the experiment is an option; the defaults shown are those of --preset
    (`alexnet presets` lists them, `alexnet train --preset NAME --help` shows one).

    Attributes:
      workdir: run folder: checkpoints, metrics and report; made if missing.
      data_dir: folder of prepared data sets; else $ALEXNET_DATA_DIR, else the user's cache folder.
      retune: let rates, schedule and epochs of the run in --workdir change from here on, as 2012
        changed them by hand; what the schedule then does is said.
      quiet: print no progress: only what is wrong, and what came out.
      typed: names of the fields of the experiment among the words; not an option.
      config: the experiment.
    """

    workdir: AbsolutePath
    data_dir: AbsolutePath | None = None
    retune: Flag = False
    quiet: Annotated[Flag, tyro.conf.arg(aliases=["-q"])] = False
    typed: tyro.conf.Suppress[tuple[str, ...]] = ()
    config: Annotated[Config, tyro.conf.arg(name="")]

    def run(self) -> None:
        """Trains."""
        self.connect()
        from alexnet_jax import workflow

        workflow.train(
            self.config,
            self.workdir,
            data_dir=self.data_dir,
            retune=self.retune,
            quiet=self.quiet,
            typed=self.typed,
            started=program.program_start(),
        )


@dataclass(frozen=True, kw_only=True)
class Evaluate(Processes, Options):
    """Measure the error of a run, or of several runs averaged, on every validation image.

    Example:
      alexnet evaluate --workdir runs/a --also runs/b runs/c --weights tuned --tune-on half

    Attributes:
      workdir: run folder.
      checkpoint: best, last, or a step number.
      views: 1: the centre; 10: corners and centre with their mirror images, averaged; those that
        coincide are counted once, and no mirror where training has none.
      also: further run folders; the probabilities of all are averaged.
      weights: of the runs in the average: equal, or tuned on the top-5 error as in 2012.
      tune_on: images to tune weights on: same (those of the test: optimistic), half (every other
        image; the rest is the test), or the name of another split.
      split: name of the split to test on; empty: the validation split of the run.
      compute_dtype: type of the activations; by default that of the training.
      towers: devices over which the network is spread, 1 or 2, however it was trained.
      replicas: copies of the network that share the images; 0: as many as there are devices for.
      data_dir: folder of prepared data sets; by default where the run found its own.
    """

    workdir: AbsolutePath
    checkpoint: str = "best"
    views: Literal[1, 10] = 10
    also: tuple[AbsolutePath, ...] = ()
    weights: Literal["equal", "tuned"] = "equal"
    tune_on: str = "same"
    split: str = ""
    compute_dtype: Literal["float32", "bfloat16"] | None = None
    towers: int = 1
    replicas: int = 0
    data_dir: AbsolutePath | None = None

    def run(self) -> None:
        """Evaluates and prints."""
        if self.weights == "tuned" and not self.also:
            raise InputError("--weights tuned needs further runs; name them with --also")
        if self.weights == "equal" and self.tune_on != "same":
            raise InputError(f"--tune-on {self.tune_on} has no effect without --weights tuned")
        self.connect()
        from alexnet_jax import processes, workflow

        result = workflow.evaluate_ensemble(
            (self.workdir, *self.also),
            self.checkpoint,
            self.views,
            self.data_dir,
            self.split,
            self.compute_dtype or "",
            self.towers,
            self.replicas,
            self.weights,
            self.tune_on,
        )
        if processes.is_chief():
            from alexnet_jax.insight.tables import format_evaluation

            print(format_evaluation(result, self.checkpoint))


@dataclass(frozen=True, kw_only=True)
class Predict(Options):
    """Name what is in images, with probabilities.

    Example:
      alexnet predict --workdir runs/a photos/ "holiday/*.jpg" --top-k 3 --format csv
      alexnet predict --workdir runs/a test1.zip --format submission --output submission.csv

    Attributes:
      images: files, folders, zips or glob patterns; -: an image on standard input.
      workdir: run folder.
      checkpoint: best, last, or a step number.
      top_k: classes per image, the likeliest first.
      views: 1: the centre; 10: corners and centre with their mirror images, averaged; those that
        coincide are counted once, and no mirror where training has none.
      orientation: upright: as the photos' EXIF says; stored: as their pixels lie; by default as
        the training images were.
      colours: shown: as a viewer shows them, with their colour profile and on white where they are
        transparent; stored: as the numbers in the file; by default as the training images were.
      compute_dtype: type of the activations; by default that of the training.
      format: how to print. submission: as competitions want it, a row id,label for every image,
        its id being the file's name without its ending; label is 0 or 1 (two classes, in the order
        of their names), or the name of the class (more).
      probability_of: of a submission: the label is the probability of this class.
      output: file to write instead of printing.
    """

    images: tyro.conf.Positional[tuple[str, ...]]
    workdir: AbsolutePath
    checkpoint: str = "best"
    top_k: int = 5
    views: Literal[1, 10] = 1
    orientation: Literal["upright", "stored"] | None = None
    colours: Literal["shown", "stored"] | None = None
    compute_dtype: Literal["float32", "bfloat16"] | None = None
    format: Literal["table", "csv", "json", "submission"] = "table"
    probability_of: str = ""
    output: AbsolutePath | None = None

    def run(self) -> int:
        """Predicts, and prints or writes."""
        from alexnet_jax.insight import files

        result = files.predict_files(
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
        )
        return command_line.show(result.text, result.notes(), result.complaint())


@dataclass(frozen=True, kw_only=True)
class Features(Options):
    """Write activations for images: of a layer to an .npz file, of several to a folder.

    Example:
      alexnet features --workdir runs/a --layer fc7 photos/ --output features.npz
      alexnet features --workdir runs/a --layer conv1:linear,pool5,fc7 photos/ --output features

    Attributes:
      images: files, folders, zips or glob patterns; -: an image on standard input.
      workdir: run folder.
      layer: conv1, pool1, fc7, ... ; a wrong name is answered with the list. conv1 is after its
        ReLU, conv1:linear before. Several with commas between them are computed in one pass.
      output: .npz file to write: features, one row per image, and the images' names. With several
        layers a folder: a .npy file per layer, written as it comes, of any number of images; the
        same command goes on where it was stopped.
      before_relu: take the layer's sums, before its nonlinearity.
      checkpoint: best, last, or a step number.
      orientation: upright: as the photos' EXIF says; stored: as their pixels lie; by default as
        the training images were.
      colours: shown: as a viewer shows them, with their colour profile and on white where they are
        transparent; stored: as the numbers in the file; by default as the training images were.
      stream: write a folder for one layer, too.
    """

    images: tyro.conf.Positional[tuple[str, ...]]
    workdir: AbsolutePath
    layer: str = "fc7"
    output: AbsolutePath
    before_relu: Flag = False
    checkpoint: str = "best"
    orientation: Literal["upright", "stored"] | None = None
    colours: Literal["shown", "stored"] | None = None
    stream: Flag = False

    def run(self) -> int:
        """Computes and writes."""
        from alexnet_jax.insight import files

        result = files.write_features(
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
        return command_line.show(result.text, result.notes(), result.complaint())


@dataclass(frozen=True, kw_only=True)
class Export(Options):
    """Write a run's parameters, or the program that uses them, for other programs.

    Example:
      alexnet export --workdir runs/a --format onnx --output alexnet.onnx

    What is written is read again and compared with the run: the difference is printed, and a file
    that fails is not kept.

    Attributes:
      workdir: run folder.
      output: file to write, or folder (savedmodel); a .json beside it says how to use it, a .md
        is its model card.
      format: safetensors: arrays by layer name. torchvision: its keys, .safetensors or .pth, of
        one-weird-trick. stablehlo, onnx, savedmodel, tflite: the whole program, from uint8 images
        to probabilities; they need pip install -e ".[export]", the last two ".[savedmodel]".
      checkpoint: best, last, or a step number.
    """

    workdir: AbsolutePath
    output: AbsolutePath
    format: weights.Format = "safetensors"
    checkpoint: str = "best"

    def run(self) -> None:
        """Exports."""
        from alexnet_jax import workflow
        from alexnet_jax.runs.weights import load_weights
        from alexnet_jax.weights.exporting import export

        card = workflow.card_beside(self.output)
        loaded = load_weights(self.workdir, self.checkpoint)
        print(export(loaded, self.output, self.format).summary())
        workflow.write_card(loaded, card)
        print(f"model card  {card}")


@dataclass(frozen=True, kw_only=True)
class ImportWeights(Options):
    """Make a run folder of weights that another program has trained.

    Example:
      alexnet import-weights alexnet-owt-7be5be79.pth --source torchvision --workdir runs/owt

    Then predict, features, evaluate, export and train --transfer.run take that folder. The file is
    read without running anything in it, by none of those programs' own libraries. The command says
    which arrays it left out, and by what the class names were put in order.

    Attributes:
      file: .pth (a state_dict, a training's checkpoint, a whole module, TorchScript), .safetensors
        with torchvision's names; .caffemodel, or Caffe's layers as .npy; a checkpoint of
        cuda-convnet or its folder; .safetensors from `export`.
      source: the program that wrote it; safetensors: this one.
      workdir: run folder to make.
      labels: class names: lines, plain, numbered or with WordNet ids (synset_words.txt,
        map_clsloc.txt); a table (index,name); JSON or Python, numbers to names or names to numbers
        (class_to_idx, id2label); or the folder of a prepared data set.
      mean: mean image of the training: .binaryproto or .npy of Caffe, batches.meta of cuda-convnet.
      network: name of the network, where the file does not tell it.
      seed: of the fresh values in layers that the file lacks (convolutions alone will do).
    """

    file: tyro.conf.Positional[AbsolutePath]
    source: weights.Source
    workdir: AbsolutePath
    labels: AbsolutePath | None = None
    mean: AbsolutePath | None = None
    network: str = ""
    seed: int = 0

    def run(self) -> None:
        """Imports."""
        from alexnet_jax.weights.importing import import_weights

        done = import_weights(
            self.file,
            self.source,
            self.workdir,
            labels=self.labels,
            mean=self.mean,
            network=self.network,
            seed=self.seed,
        )
        print(done.summary())


@dataclass(frozen=True, kw_only=True)
class Prepare(Options):
    """Store images ready for training; once per data set, and it can be interrupted.

    Example:
      alexnet prepare --source folder ~/photos --name photos

    A folder holds one folder per class, either at once or below train/, val/ and test/ (or what
    else these are called); or photos in one heap, whose names (cat.1.jpg) or a table of labels tell
    the classes. A zip or tar of that is as good. What was understood, and what is left out, is
    said first.

    Typed again it compares: a source that has changed becomes a new version beside the old one,
    photos.2, and so on; --data.name photos of `train` is then the newest.

    Attributes:
      path: folder or archive that holds the images; not for digits and tfds:NAME.
      source: digits, folder, cifar10, imagenet2012, or tfds:NAME of the TFDS catalogue.
      name: name of the set in the data folder; by default from the source.
      data_dir: folder of prepared data sets; else $ALEXNET_DATA_DIR, else the user's cache folder.
      stored_size: height and width of the stored images; by default 256, or 32 for small sets.
      store: jpeg bytes, or raw pixels: larger and faster; by default raw for small sets.
      jpeg_quality: 1 to 100.
      validation_fraction: share of the training images to set aside where there is no other split.
      orientation: upright: photos are turned as their EXIF orientation says; stored: they are taken
        as their pixels lie; by default stored for imagenet2012, as in 2012, upright for all else.
      colours: shown: as a viewer shows photos, with their colour profile and on white where they
        are transparent; stored: as the numbers in the file; by default stored for imagenet2012,
        shown for all else.
      copies: together: photos of one scene (mirrored, turned, cropped ones, too) are told, and kept
        on one side of the split where a share is set aside; ignore: they are not looked for.
      class_order: of imagenet2012: by WordNet id (Caffe, torchvision) or by ILSVRC id (2012).
      workers: processes that decode; by default one per core.
      bad_images: skip: list them in bad_images.jsonl and go on; error: stop at the first.
    """

    path: tyro.conf.Positional[AbsolutePath | None] = None
    source: str
    name: str = ""
    data_dir: AbsolutePath | None = None
    stored_size: int | None = None
    store: Literal["jpeg", "raw"] | None = None
    jpeg_quality: int | None = None
    validation_fraction: float | None = None
    orientation: Literal["upright", "stored"] | None = None
    colours: Literal["shown", "stored"] | None = None
    copies: Literal["together", "ignore"] = "together"
    class_order: Literal["wordnet", "ilsvrc"] | None = None
    workers: int | None = None
    bad_images: Literal["skip", "error"] = "skip"

    def run(self) -> None:
        """Prepares."""
        from alexnet_jax.preparation.prepare import prepare

        data_dir = self.data_dir or default_data_dir()
        folder = prepare(self.data(), data_dir, workers=self.workers, bad_images=self.bad_images)
        print(f"prepared {folder}")

    def data(self) -> DataConfig:
        """Returns the data set that the options describe; raises `InputError` if they cannot."""
        from alexnet_jax.preparation.options import default_options

        kind, _, catalogue_name = self.source.partition(":")
        known = ["tfds:NAME" if name == "tfds" else name for name in SOURCES]
        if kind not in SOURCES or (kind == "tfds") != bool(catalogue_name):
            raise InputError(
                f"unknown --source '{self.source}'.{did_you_mean(self.source, known)} "
                f"Known: {', '.join(known)}"
            )
        if (self.path is None) != (kind in ("digits", "tfds")):
            needs = "takes no path" if self.path else "needs the path of its images"
            raise InputError(f"--source {self.source} {needs}; --help has an example")
        names = ("stored_size", "store", "jpeg_quality", "validation_fraction", "class_order")
        values = {
            name: getattr(self, name) for name in (*names, "orientation", "colours", "copies")
        }
        given = {name: value for name, value in values.items() if value is not None}
        source = catalogue_name or str(self.path or "")
        return replace(default_options(kind, source, self.name), **given)


@dataclass(frozen=True, kw_only=True)
class Report(Options):
    """Write report.html again, one self-contained file, into a run folder.

    Example:
      alexnet report --workdir runs/a

    Attributes:
      workdir: run folder.
    """

    workdir: AbsolutePath

    def run(self) -> None:
        """Writes the report."""
        from alexnet_jax import workflow

        print(f"wrote {workflow.write_run_report(self.workdir)}")


@dataclass(frozen=True, kw_only=True)
class Demo(Options):
    """Serve a local web page: drop a photo, see the answers, the views and the layers' maps.

    Example:
      alexnet demo --workdir runs/a

    Needs `pip install "alexnet_jax[demo]"`. No photo is kept, and nothing leaves this machine.

    Attributes:
      workdir: run folder.
      checkpoint: best, last, or a step number.
      host: address to listen on; another than loopback lets other machines in.
      port: to listen on; 0: any that is free.
    """

    workdir: AbsolutePath
    checkpoint: str = "best"
    host: str = "127.0.0.1"
    port: int = 8000

    def run(self) -> None:
        """Serves until Ctrl-C."""
        from alexnet_jax.insight import demo
        from alexnet_jax.insight.classifier import load

        demo.serve(load(self.workdir, self.checkpoint), self.workdir.name, self.host, self.port)


@dataclass(frozen=True, kw_only=True)
class Doctor(Options):
    """Check the installation, devices, disk, data sets, a run folder, ImageNet's archives.

    Example:
      alexnet doctor --workdir runs/a

    Exit code 0 if all is well, 1 if something must be mended.

    Attributes:
      workdir: run folder to look into, too.
      data_dir: folder of prepared data sets; else $ALEXNET_DATA_DIR, else the user's cache folder.
      imagenet: folder with the archives of ILSVRC-2012, whose MD5 sums to check (minutes).
    """

    workdir: AbsolutePath | None = None
    data_dir: AbsolutePath | None = None
    imagenet: AbsolutePath | None = None

    def run(self) -> int:
        """Prints the findings."""
        from alexnet_jax import doctor

        return doctor.examine(self.workdir, self.data_dir or default_data_dir(), self.imagenet)


@dataclass(frozen=True, kw_only=True)
class Presets(Options):
    """List the ready-made experiments, what each needs, and what to expect.

    Example:
      alexnet presets --format json

    Attributes:
      format: how to print.
    """

    format: Literal["table", "json"] = "table"

    def run(self) -> None:
        """Prints the list."""
        from alexnet_jax import presets

        print(command_line.format_presets(presets.PRESETS, presets.NOTES, self.format), end="")


@dataclass(frozen=True, kw_only=True)
class Summary(Options):
    """Show a network as a table: layers, sizes, receptive fields, parameters, towers.

    Example:
      alexnet summary --network original
      alexnet summary --workdir runs/a --format csv

    Attributes:
      network: its name; by default paper.
      workdir: run folder, whose network to show.
      image_size: height and width of the images in pixels; by default the network's, or the run's.
      classes: number of outputs; by default the network's, or the run's.
      format: how to print; csv and json have numbers without commas, for programs.
    """

    network: str | None = None
    workdir: AbsolutePath | None = None
    image_size: int | None = None
    classes: int | None = None
    format: Literal["table", "markdown", "csv", "json"] = "table"

    def run(self) -> None:
        """Prints the table."""
        from alexnet_jax.network.networks import find_network
        from alexnet_jax.network.summary import summary
        from alexnet_jax.network.summary_text import format_summary

        if self.workdir is None:
            network, size = find_network("paper" if self.network is None else self.network), None
        elif self.network is not None:
            raise InputError("--network and --workdir both name a network; give one of them")
        else:
            from alexnet_jax.runs.folder import read_run

            run = read_run(self.workdir)
            network, size = run.network, run.image_size
        if self.classes is not None:
            network = network.with_classes(self.classes)
        size = size if self.image_size is None else self.image_size
        print(format_summary(summary(network, size), self.format))


VERBS: dict[str, type[Options]] = {
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "features": Features,
    "export": Export,
    "import-weights": ImportWeights,
    "prepare": Prepare,
    "report": Report,
    "demo": Demo,
    "doctor": Doctor,
    "presets": Presets,
    "summary": Summary,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    Args:
      arguments: what was typed after the program's name; by default `sys.argv`. Without a verb
        it is `train`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    return command_line.run(VERBS, words, last=arguments is None)


def parse(name: str, words: Sequence[str]) -> Any:
    """Returns the verb `name` with its options set from `words`; see `command_line.parse`."""
    return command_line.parse(VERBS, name, words)


if __name__ == "__main__":
    sys.exit(main())
