"""Verbs that compute on a complete data set: train, evaluate."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from alexnet_jax import program
from alexnet_jax.commands.options import AbsolutePath, Flag, Options, ProcessOptions, RunOptions
from alexnet_jax.config import Config
from alexnet_jax.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Train(ProcessOptions, Options):
    """Train a network, or continue where the same command stopped.

    Example:
      alexnet train --workdir runs/cifar --preset cifar10-18pct --optimizer.learning-rate 0.002

    Every field of the experiment is an option. The defaults shown are those of --preset
    (`alexnet presets` lists them, `alexnet train --preset NAME --help` shows one).

    Attributes:
      workdir: run folder for checkpoints, metrics and report; it is made if it is missing.
      data_dir: folder of prepared data sets; by default $ALEXNET_DATA_DIR, else the user's cache.
      retune: change rates, schedule and epochs of the run in --workdir from here on, as was done
        by hand in 2012; the new schedule is printed.
      quiet: print no progress, only warnings and the result.
      typed: names of the fields that the user has set; not an option.
      config: the experiment.
    """

    workdir: AbsolutePath
    data_dir: AbsolutePath | None = None
    retune: Flag = False
    quiet: Annotated[Flag, tyro.conf.arg(aliases=["-q"])] = False
    typed: tyro.conf.Suppress[tuple[str, ...]] = ()
    config: Annotated[Config, tyro.conf.arg(name="")]

    def run(self) -> None:
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
class Evaluate(ProcessOptions, RunOptions):
    """Measure the error of a run, or of several runs averaged, on every validation image.

    Example:
      alexnet evaluate --workdir runs/a --also runs/b runs/c --weights tuned --tune-on half

    Attributes:
      views: 1: the centre; 10: corners and centre with their mirror images, averaged. Equal views
        count once, and mirror images are left out where training had none.
      also: further run folders; the probabilities of all runs are averaged.
      weights: weights of the runs in the average: equal, or tuned on the top-5 error as in 2012.
      tune_on: images to tune the weights on: same (the test images: optimistic), half (every
        second image; the test uses the rest), or the name of another split.
      split: name of the split to test on; by default the run's validation split.
      compute_dtype: type of the activations; by default as in training.
      towers: number of devices for one copy of the network, 1 or 2; training may have used another.
      replicas: copies of the network that share the images; 0: as many as the devices allow.
      data_dir: folder of prepared data sets; by default where the run found its own.
    """

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
            from alexnet_jax.evaluation.ensemble import format_ensemble

            print(format_ensemble(result, self.checkpoint))
