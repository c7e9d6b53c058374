"""A run from its configuration to its report."""

import shlex
import time
from collections.abc import Callable, Collection
from pathlib import Path

import jax
from jax.sharding import Mesh

from alexnet_jax import __version__, processes
from alexnet_jax.config import Config
from alexnet_jax.data.dataset import Dataset, open_dataset
from alexnet_jax.display import Display, duration
from alexnet_jax.evaluation.metrics import describe_errors
from alexnet_jax.evaluation.views import averaged_by
from alexnet_jax.fields import fields_of
from alexnet_jax.locations import default_data_dir
from alexnet_jax.network.placement import to_host
from alexnet_jax.preparation.prepare import ensure_prepared
from alexnet_jax.resolution import check_before_preparing
from alexnet_jax.runs.record import RunRecord, check_same_config
from alexnet_jax.runs.run_folder import opened
from alexnet_jax.runs.run_weights import RunWeights
from alexnet_jax.runs.state import TrainState
from alexnet_jax.training.start import mesh_of, open_run, source_of
from alexnet_jax.training.train import Outcome, train_run
from alexnet_jax.workflow.completion import complete
from alexnet_jax.workflow.evaluation import evaluate_params
from alexnet_jax.workflow.final import FinalTest, final_test, write_final
from alexnet_jax.workflow.run_report import REPORT, write_report_of

# What the configuration says of a machine, in which processes on several may differ.
_FIELDS_OF_THE_HOST = {"workers", "data.source", "data.cache_bytes"}


@processes.explained()
def train(
    config: Config,
    workdir: str | Path,
    data_dir: str | Path | None = None,
    *,
    retune: bool = False,
    say: Callable[[str], object] = print,
    started: float | None = None,
    quiet: bool = False,
    typed: Collection[str] = (),
) -> TrainState:
    """Prepares the data where needed, trains or continues a run, tests it and writes its report.

    Several processes (`alexnet_jax.processes`) all call this with the same arguments. The paths
    may name other places in each, but the run folder must be one.

    Args:
      data_dir: folder of the prepared sets (default: `default_data_dir()`).
      retune: let rates, schedule and epochs of a run in the folder change from here on.
      say: is called with each line for the user.
      started: `time.monotonic()` from which `run.json` counts `seconds_to_first_step`.
      quiet: say only warnings and the result.
      typed: dotted names of fields that are kept even where they equal the preset.

    Returns:
      The newest state; its `params` are float32 arrays by layer.

    Raises:
      InputError, DataError, CheckpointError, DivergedError, PeerLostError: see
        `alexnet_jax.errors`.
    """
    started = time.monotonic() if started is None else started
    workdir = Path(workdir).absolute()
    data_dir = Path(data_dir or default_data_dir())
    shared = {k: v for k, v in fields_of(config).items() if k not in _FIELDS_OF_THE_HOST}
    processes.check_agreement(shared | {"retune": retune, "version": __version__})
    display = Display(say if processes.is_chief() else lambda line: None, quiet=quiet)
    with opened(workdir, display.say) as record:
        source = source_of(config, record)
        config = complete(config, record, source, data_dir, display, typed)
        if record is not None:
            check_same_config(workdir, record.config, config, retune)
        check_before_preparing(config)
        if config.towers > 1 or config.replicas or processes.count() > 1:
            mesh_of(config)  # it starts the devices, so only where it may fail
        dataset = _prepared(config, data_dir, record, display)
        mesh = mesh_of(config)
        run = open_run(config, workdir, dataset, record, source, display.say)
        outcome = train_run(
            run,
            dataset,
            mesh=mesh,
            display=display,
            started=started,
            previous=record and record.config,
        )
        if outcome.finished:
            print_summary(outcome, _finish(outcome, dataset, mesh), display.warn)
    return outcome.state


def _prepared(
    config: Config, data_dir: Path, record: RunRecord | None, display: Display
) -> Dataset:
    """Returns the data set: the newest version, or the one with which the run began."""

    def prepare() -> Path:
        begun_with = record.info.get("data_fingerprint", "") if record else ""
        return ensure_prepared(config.data, data_dir, display=display, begun_with=begun_with)

    # Process 0 alone, then the others, who find it ready unless they have a disk of their own.
    dataset = open_dataset(processes.chief_first(prepare, prepare), config.data.cache_bytes)
    processes.check_agreement({"the data set's fingerprint": dataset.fingerprint})
    return dataset


def _finish(outcome: Outcome, dataset: Dataset, mesh: Mesh | None) -> FinalTest:
    """Tests the last parameters and writes the report, unless an earlier call has."""
    run, step = outcome.run, int(outcome.state.step)
    config, report = run.config, run.workdir / REPORT
    test = final_test(run)
    # A finished run that was given more epochs, or more views, is tested again.
    if test.step != step or str(config.final_views) not in test.summary:
        split = dataset.split(config.data.validation_split)
        results = {
            views: evaluate_params(run, outcome.state.params, split, views, mesh)
            for views in sorted({1, config.final_views})
        }

        def write_test() -> FinalTest:
            report.unlink(missing_ok=True)
            return write_final(run, step, results, dataset)

        test = processes.chief_first(write_test, lambda: test)
    weights = RunWeights(run, jax.tree.map(to_host, outcome.state.params), step)

    def write_report() -> None:
        if not report.exists():
            write_report_of(run, test, weights, dataset)

    processes.chief_first(write_report, lambda: None)
    return test


def print_summary(outcome: Outcome, test: FinalTest, say: Callable[[str], None]) -> None:
    run, info = outcome.run, outcome.run.info
    if not outcome.steps_done:
        say(f"{run.workdir} holds a finished run of this configuration: nothing to do")
    for views, values in test.summary.items():
        kind, count = averaged_by(run, int(views)).name, info["validation_images"]
        say(f"test error {describe_errors(values)}, {kind}, {count:,} images")
    say(f"trained {info['step']} steps in {duration(info['wall_seconds'])}")
    say(f"report      {run.workdir / REPORT}")
    say(f"metrics     {run.workdir / 'metrics.csv'}")
    folder = shlex.quote(str(run.workdir))
    say(f"next        python -m alexnet_jax.main predict --workdir {folder} YOUR_IMAGES")
