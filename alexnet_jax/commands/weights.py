"""Verbs that write or read the weights of other programs: export, import-weights."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from alexnet_jax import weights
from alexnet_jax.commands.options import AbsolutePath, Options, RunOptions


@dataclass(frozen=True, kw_only=True)
class Export(RunOptions):
    """Write the parameters of a run, or the complete program, for other programs.

    Example:
      alexnet export --workdir runs/a --format onnx --output alexnet.onnx

    The file is read again and compared with the run. The difference is printed. A file that
    differs is not kept.

    Attributes:
      output: file to write, or folder (savedmodel). A .json file next to it says how to use it and
        how to prepare images, and a .md file is its model card.
      batch: number of images that a program takes at once, for runtimes that need fixed shapes;
        without it, any number.
    """

    output: AbsolutePath
    format: Annotated[weights.Format, tyro.conf.arg(help=weights.help_of_writers())] = "safetensors"
    form: Annotated[weights.Form, tyro.conf.arg(help=weights.help_of_forms())] = "whole"
    batch: int | None = None

    def run(self) -> None:
        from alexnet_jax import workflow
        from alexnet_jax.runs.run_weights import load_weights
        from alexnet_jax.weights.exporting import export, read_by

        card = workflow.card_path(self.output)
        loaded = load_weights(self.workdir, self.checkpoint)
        done = export(loaded, self.output, self.format, self.form, self.batch)
        print(done.summary())
        is_program = bool(weights.WRITERS[self.format].layout)
        readers = read_by(self.format, self.form, self.batch) if is_program else None
        workflow.write_card(loaded, card, readers)
        print(f"model card  {card}")


@dataclass(frozen=True, kw_only=True)
class ImportWeights(Options):
    """Make a run folder from the weights of another program.

    Example:
      alexnet import-weights alexnet-owt-7be5be79.pth --workdir runs/owt

    A file of PyTorch may hold a state_dict, a checkpoint, a complete module, or TorchScript; a
    checkpoint of cuda-convnet may be named by its folder.

    Then predict, features, evaluate, export and train --transfer.run take that folder. No code in
    the file is run, and the libraries of those programs are not needed. The command prints which
    arrays it left out, and how it put the class names in order.

    Attributes:
      source: the program that wrote the file; safetensors: this library. None: found by looking.
      workdir: run folder to make.
      labels: class names: lines, plain, numbered or with WordNet ids (synset_words.txt,
        map_clsloc.txt); a table (index,name); JSON or Python, numbers to names or names to numbers
        (class_to_idx, id2label); or the folder of a prepared data set.
      mean: mean image of the training: .binaryproto or .npy of Caffe, batches.meta of cuda-convnet.
      network: name of the network, if the file does not say it.
      seed: seed of the new values of layers that the file lacks (convolutions alone are enough).
    """

    file: Annotated[
        tyro.conf.Positional[AbsolutePath], tyro.conf.arg(help=weights.help_of_readers())
    ]
    workdir: AbsolutePath
    source: weights.Source | None = None
    labels: AbsolutePath | None = None
    mean: AbsolutePath | None = None
    network: str = ""
    seed: int = 0

    def run(self) -> None:
        from alexnet_jax.weights.importing import import_weights

        imported = import_weights(
            self.file,
            self.source or "",
            self.workdir,
            labels=self.labels,
            mean=self.mean,
            network=self.network,
            seed=self.seed,
        )
        print(imported.summary())
