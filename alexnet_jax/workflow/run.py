"""An experiment from its data to its report."""

import contextlib
import dataclasses
import shlex
import time
from collections.abc import Callable, Collection
from pathlib import Path

from alexnet_jax import __version__, processes, recipes
from alexnet_jax.config import Config, fields_of
from alexnet_jax.data.dataset import Dataset, open_dataset
from alexnet_jax.display import Display, duration
from alexnet_jax.errors import InputError
from alexnet_jax.evaluation.metrics import describe_errors
from alexnet_jax.evaluation.views import averaged_by
from alexnet_jax.locations import default_data_dir
from alexnet_jax.network.layers import parametric_layers
from alexnet_jax.preparation.prepare import ensure_prepared
from alexnet_jax.preparation.survey import survey
from alexnet_jax.resolution import resolve
from alexnet_jax.runs import folder as run_folder
from alexnet_jax.runs.folder import Run, read_run
from alexnet_jax.runs.state import TrainState
from alexnet_jax.training.start import mesh_of
from alexnet_jax.training.start import train as train_loop
from alexnet_jax.training.train import Outcome
from alexnet_jax.workflow.evaluation import evaluate_params
from alexnet_jax.workflow.final import final_test, write_final
from alexnet_jax.workflow.run_report import write_run_report

# What the configuration says of a machine, in which processes on several may differ.
_OF_THE_HOST = {"workers", "data.source", "data.cache_bytes"}


@processes.explained()
def train(
    config: Config,
    workdir: str | Path,
    data_dir: str | Path | None = None,
    *,
    retune: bool = False,
    say: Callable = print,
    started: float | None = None,
    quiet: bool = False,
    typed: Collection[str] = (),
) -> TrainState:
    """Runs an experiment: prepares data where needed, trains or resumes, tests, reports.

    Several processes (`alexnet_jax.processes`) all call this with the same arguments; the paths
    may name other places in each, but the run folder must be one.

    Args:
      config: what to run, e.g. `PRESETS["digits"]`.
      workdir: run folder, made when absent; a run of the same configuration is resumed.
      data_dir: folder of the prepared sets (default: `default_data_dir()`).
      retune: let rates, schedule and epochs of a run in the folder change from here on.
      say: takes each line of text for the user.
      started: `time.monotonic()` at which the user began to wait (default: now), from which
        `run.json` counts `seconds_to_first_step`.
      quiet: print no progress: only what is wrong, and what came out.
      typed: dotted names of fields that somebody set, which are left alone even where they are as
        the preset has them (those that differ from it are left alone in any case).

    Returns:
      The newest state; its `params` are float32 arrays by layer.

    Raises:
      InputError, DataError, CheckpointError, DivergedError, PeerLostError: see
        `alexnet_jax.errors`.
    """
    started = time.monotonic() if started is None else started
    workdir = Path(workdir).absolute()
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"--workdir {workdir} is a file; name a folder")
    what = {k: v for k, v in fields_of(config).items() if k not in _OF_THE_HOST}
    processes.check_agreement(what | {"retune": retune, "version": __version__})
    display = Display(say, quiet=quiet)
    place = data_dir or default_data_dir()
    config = _complete(config, workdir, place, display.say, display.warn, typed)
    if run_folder.holds_config(workdir):
        run_folder.check_same_config(workdir, config, retune)
    _check(config)

    begun_with = _begun_with(workdir)

    def prepared() -> Path:
        return ensure_prepared(config.data, place, display=display, begun_with=begun_with)

    # Process 0 alone, then the others, who find it ready unless they have a disk of their own.
    folder = processes.chief_first(prepared, prepared)
    dataset = open_dataset(folder, config.data.cache_bytes)
    processes.check_agreement({"the data set's fingerprint": dataset.fingerprint})
    outcome = train_loop(config, workdir, dataset, retune, started, display)
    if outcome.finished:
        _finish(outcome, dataset)
    if outcome.finished and processes.is_chief():
        print_summary(outcome.run, outcome.steps_done, display.warn)
    return outcome.state


def _begun_with(workdir: Path) -> str:
    """Returns the fingerprint of the data set of the run in a folder; empty: there is no run."""
    if not run_folder.holds_config(workdir):
        return ""
    with contextlib.suppress(InputError):  # which is said where the run is opened
        return run_folder.read_info(workdir).get("data_fingerprint", "")
    return ""


def _complete(
    config: Config,
    workdir: Path,
    data_dir: str | Path,
    say: Callable,
    warn: Callable,
    typed: Collection[str],
) -> Config:
    """Returns the configuration with what depends on the photos: the split, an open network."""
    named = not recipes.is_open(config)
    tfds = config.data.source_kind == "tfds"  # listing it needs TensorFlow, which may not come here
    if named and (tfds or not recipes.tests_on_any(config, typed)):
        return config
    if tfds:
        raise InputError(
            "--network auto is for folders and tars of photos; name a network, or prepare the set "
            "and give its name as --data.name"
        )

    def choose() -> str:
        with contextlib.suppress(InputError):  # there is no run, or nothing that tells of one
            stored = run_folder.read_config(workdir)
            # A run of another preset is no run of these photos: it is refused, not taken up.
            same = stored.preset == config.preset
            return (recipes.resume_recipe(config, stored, typed) if same else config).to_json()
        trunk = _trunk(config.transfer.run) if config.transfer.run else None
        first = recipes.chosen(config, 0, (), 1.0, trunk=trunk, typed=typed)
        found = survey(config.data, first.data, data_dir)
        if found is None:  # nothing can be prepared, either, which says what is missing
            return first.to_json()
        recipe = recipes.chosen(
            config, found.train_images, found.counts, found.imbalance, found.stored, trunk, typed
        )
        for line in found.lines():
            say(line)
        for line in found.doubts():
            warn(line)
        if not named:
            say(recipes.described(recipe))
        elif recipe != config:
            split = f"'{recipe.data.validation_split}': there is no other to test"
            warn(f"split       rates and best checkpoint follow {split}")
        return recipe.to_json()

    text = processes.chief_first(choose, lambda: "")
    chosen = Config.from_json(processes.exchange(text)[0])
    # What may differ between machines stays this one's.
    own = config.data
    data = dataclasses.replace(
        chosen.data, source=own.source or chosen.data.source, cache_bytes=own.cache_bytes
    )
    return dataclasses.replace(chosen, workers=config.workers, data=data)


def _trunk(workdir: str) -> recipes.Trunk:
    run = read_run(workdir)
    layers = [layer.name for layer in parametric_layers(run.network.layers)]
    learned = run.info.get("import", {}).get("layers", {}).get("imported", layers)
    return recipes.Trunk(
        run.config.network, run.image_size, run.stored_size, run.config.preprocess, tuple(learned)
    )


def _check(config: Config) -> None:
    """Refuses an impossible experiment before hours of preparation, not after."""
    resolve(config)
    if config.towers > 1 or config.replicas or processes.count() > 1:
        mesh_of(config)  # it starts the devices, which preparing need not hold
    if config.transfer.run:
        read_run(config.transfer.run)


def _finish(outcome: Outcome, dataset: Dataset) -> None:
    """Tests the last parameters and writes the report, unless an earlier call has."""
    run, step = outcome.run, int(outcome.state.step)
    tested, report = final_test(run.workdir), run.workdir / "report.html"
    # A finished run that was given more epochs, or more views, is tested again.
    if tested.step != step or str(run.config.final_views) not in tested.summary:
        split, mesh = dataset.split(run.config.data.validation_split), mesh_of(run.config)
        results = {
            views: evaluate_params(run, outcome.state.params, split, views, mesh)
            for views in sorted({1, run.config.final_views})
        }

        def write() -> None:
            report.unlink(missing_ok=True)
            write_final(run, step, results, dataset)

        processes.chief_first(write, lambda: None)

    def write_report() -> None:
        if not report.exists():
            write_run_report(run.workdir, dataset=dataset)

    processes.chief_first(write_report, lambda: None)


def print_summary(run: Run, steps_done: int, say: Callable) -> None:
    """Prints what the run made and what to type next."""
    summary = final_test(run.workdir).summary
    info = read_run(run.workdir).info
    if not steps_done:
        say(f"{run.workdir} holds a finished run of this configuration: nothing to do")
    for views, values in summary.items():
        kind, count = averaged_by(run, int(views)).name, info["validation_images"]
        say(f"test error {describe_errors(values)}, {kind}, {count:,} images")
    say(f"trained {info['step']} steps in {duration(info['wall_seconds'])}")
    say(f"report      {run.workdir / 'report.html'}")
    say(f"metrics     {run.workdir / 'metrics.csv'}")
    folder = shlex.quote(str(run.workdir))
    say(f"next        python -m alexnet_jax.main predict --workdir {folder} YOUR_IMAGES")
