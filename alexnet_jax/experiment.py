"""A whole experiment: data, training, the final test, the report.

`alexnet_jax.train` is `train` here; the loop itself is `training/train.py`.
"""

import contextlib
import dataclasses
import json
import shlex
import time
import warnings
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from alexnet_jax import __version__, processes, recipes
from alexnet_jax.checks import resolve
from alexnet_jax.config import Config, fields_of
from alexnet_jax.data.dataset import Dataset, open_dataset
from alexnet_jax.errors import CheckpointError, DataError, InputError
from alexnet_jax.evaluation.ensemble import Ensemble, Member, alternate, evaluate_members
from alexnet_jax.evaluation.evaluate import Evaluation, evaluate, make_predict_step
from alexnet_jax.evaluation.metrics import confusion_matrix, describe_errors
from alexnet_jax.files import read_arrays, write_arrays
from alexnet_jax.insight.card import is_card, model_card
from alexnet_jax.insight.classifier import classifier_of
from alexnet_jax.insight.examples import Example, choose_examples
from alexnet_jax.insight.neighbours import Neighbours, last_hidden_layer, nearest
from alexnet_jax.insight.report import write_report
from alexnet_jax.locations import default_data_dir
from alexnet_jax.network import placement
from alexnet_jax.network.layers import parametric_layers
from alexnet_jax.preparation.prepare import ensure_prepared
from alexnet_jax.preparation.survey import survey
from alexnet_jax.runs import folder as run_folder
from alexnet_jax.runs.folder import Run, read_run
from alexnet_jax.runs.records import Records, duration, read_rows
from alexnet_jax.runs.state import TrainState
from alexnet_jax.runs.weights import RunWeights, kept_steps, load_weights
from alexnet_jax.training.schedule import frozen_layers
from alexnet_jax.training.train import Outcome, mesh_of
from alexnet_jax.training.train import train as train_loop

NEIGHBOUR_ROWS, NEIGHBOURS = 5, 6
"""Of the report's nearest neighbours: test images, and training images for each (figure 4)."""
NEIGHBOUR_BANK, NEIGHBOUR_PART = 1500, 250
"""Training images that are searched, and how many are in memory at once."""
FINAL = "final.npz"
CARD = "model_card.md"
ENSEMBLE = "ensemble.json"

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
      typed: dotted names of fields that somebody set, which network `auto` leaves alone even where
        they are as the preset has them (others that differ from it are left alone, too).

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
    config = _complete(
        config, workdir, data_dir or default_data_dir(), _ignore if quiet else say, say, typed
    )
    if run_folder.holds_config(workdir):
        run_folder.check_same_config(workdir, config, retune)
    _check(config)

    def prepared() -> Path:
        return ensure_prepared(config.data, data_dir or default_data_dir(), progress=not quiet)

    # Process 0 alone, then the others, who find it ready unless they have a disk of their own.
    folder = processes.chief_first(prepared, prepared)
    dataset = open_dataset(folder, config.data.cache_bytes)
    processes.check_agreement({"the data set's fingerprint": dataset.fingerprint})
    outcome = train_loop(config, workdir, dataset, retune, started, quiet)
    if outcome.finished:
        _finish(outcome, dataset)
    if outcome.finished and processes.is_chief():
        _tell(outcome.run, outcome.steps_done, say)
    return outcome.state


def _ignore(line: str) -> None:
    """Says nothing."""


def _complete(
    config: Config,
    workdir: Path,
    data_dir: str | Path,
    say: Callable,
    warn: Callable,
    typed: Collection[str],
) -> Config:
    """Returns the configuration with a network that suits the photos, where none was named."""
    if not recipes.is_open(config):
        return config
    if config.data.source_kind == "tfds":  # listing it needs TensorFlow, which may not come here
        raise InputError(
            "--network auto is for folders and tars of photos; name a network, or prepare the set "
            "and give its name as --data.name"
        )

    def choose() -> str:
        with contextlib.suppress(InputError):  # there is no run, or nothing that tells of one
            stored = run_folder.read_config(workdir)
            # A run of another preset is no run of these photos: it is refused, not taken up.
            same = stored.preset == config.preset
            return (recipes.taken_up(config, stored, typed) if same else config).to_json()
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
        say(recipes.described(recipe))
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
            views: _evaluate(run, outcome.state.params, split, views, mesh)
            for views in sorted({1, run.config.final_views})
        }

        def write() -> None:
            report.unlink(missing_ok=True)
            _write_final(run, step, results, dataset)

        processes.chief_first(write, lambda: None)

    def write_report() -> None:
        if not report.exists():
            write_run_report(run.workdir, dataset=dataset)

    processes.chief_first(write_report, lambda: None)


def _write_final(run: Run, step: int, results: dict[int, Evaluation], dataset: Dataset) -> None:
    """Writes the results by number of views: `final.npz` has the probabilities of the most."""
    best_views = max(results)
    probabilities = results[best_views].probabilities
    assert probabilities is not None
    summary = {str(views): result.metrics() for views, result in results.items()}
    records = Records(run.workdir, step)
    for views, result in results.items():
        row = {"step": step, "epoch": _epochs(run, step), "test_views": views}
        records.add(row | {f"final/{k}": v for k, v in result.metrics().items()})
    labels = results[best_views].labels
    for place, example in enumerate(_examples(run, dataset, probabilities, labels)):
        answer = run.class_names[int(np.argmax(example.probabilities))]
        name = f"{example.kind}/{place}: {run.class_names[example.label]}, answer {answer}"
        records.add_picture(step, name, example.image)
    records.close()
    write_arrays(
        run.workdir / FINAL,
        run_id=np.array(run.info.get("run_id", "")),
        probabilities=probabilities,
        labels=results[best_views].labels,
        summary=np.array(json.dumps(summary)),
        step=np.array(step),
    )


def _epochs(run: Run, step: int) -> float:
    return step * run.config.batch_size / run.info.get("epoch_images", run.info["train_images"])


def _tell(run: Run, steps_done: int, say: Callable) -> None:
    """Prints what the run made and what to type next."""
    summary = final_test(run.workdir).summary
    info = read_run(run.workdir).info
    if not steps_done:
        say(f"{run.workdir} holds a finished run of this configuration: nothing to do")
    for views, values in summary.items():
        kind = "centre view" if views == "1" else f"{views} views"
        say(f"test error {describe_errors(values)}, {kind}, {info['validation_images']:,} images")
    say(f"trained {info['step']} steps in {duration(info['wall_seconds'])}")
    say(f"report      {run.workdir / 'report.html'}")
    say(f"metrics     {run.workdir / 'metrics.csv'}")
    folder = shlex.quote(str(run.workdir))
    say(f"next        python -m alexnet_jax.main predict --workdir {folder} YOUR_IMAGES")


class FinalTest(NamedTuple):
    """The test that ended a run; empty when there was none."""

    step: int = -1
    summary: dict[str, dict[str, float]] = {}
    probabilities: Any = None
    labels: Any = None


def final_test(workdir: Path) -> FinalTest:
    """Reads `final.npz`; one that is damaged or of another run is warned of and left alone."""
    path = workdir / FINAL
    if not path.exists():
        return FinalTest()
    try:
        arrays = read_arrays(path)
        step = int(arrays["step"]) if "step" in arrays else -1
        summary = json.loads(str(arrays["summary"]))
        run_id = str(arrays["run_id"]) if "run_id" in arrays else ""
        if run_id and run_id != run_folder.read_info(workdir).get("run_id"):
            raise ValueError("of another run")
        test = FinalTest(step, summary, arrays["probabilities"], arrays["labels"])
        _check_final(test)
        return test
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        warnings.warn(
            f"{path} is damaged ({error}) and left out; the training command makes it anew",
            stacklevel=2,
        )
        return FinalTest()


def _check_final(test: FinalTest) -> None:
    """Raises `ValueError` where the parts of a final test do not fit together."""
    count, classes = test.probabilities.shape
    shares = test.probabilities.dtype.kind == "f" and np.isfinite(test.probabilities).all()
    known = test.labels.dtype.kind == "i" and test.labels.shape == (count,) and count > 0
    if not shares or not known or not 0 <= test.labels.min() <= test.labels.max() < classes:
        raise ValueError("labels and probabilities do not fit together")
    for views, values in test.summary.items():
        errors = [value for name, value in values.items() if name.endswith("_error")]
        numbers = all(type(value) in (int, float) for value in values.values())
        if not views.isdigit() or not numbers or not all(0 <= error <= 1 for error in errors):
            raise ValueError(f"its summary of {views} views is no summary")


def _evaluate(
    run: Run, params: Any, split: Any, views: int, mesh: Mesh | None, compute_dtype: str = ""
) -> Evaluation:
    config = run.config
    step = make_predict_step(
        run.network,
        config.preprocess,
        run.image_size,
        views,
        jnp.dtype(compute_dtype or config.compute_dtype),
        config.augment,
        mesh,
    )
    params, inputs = (placement.put(mesh, run.network, tree) for tree in (params, run.inputs))
    return evaluate(step, params, inputs, split, config.batch_size, mesh=mesh)


def evaluate_run(
    workdir: str | Path,
    checkpoint: str | int = "best",
    views: int = 10,
    also: Sequence[str | Path] = (),
    data_dir: str | Path | None = None,
    split: str = "",
    compute_dtype: str = "",
    towers: int = 1,
    replicas: int = 0,
) -> Evaluation:
    """Tests a run, or several as an ensemble of equal weights, on a whole split.

    Args:
      workdir: run folder.
      checkpoint: `best`, `last` or a step number, of every run.
      views: 1 (centre) or 10.
      also: further run folders; see `evaluate_ensemble` for weights that are not equal.
      data_dir: folder of the prepared sets, where the set is no longer where the run found it.
      split: name of the split; empty: the run's validation split.
      compute_dtype: type of the activations, float32 or bfloat16; empty: that of the training.
      towers: devices over which the network is spread, 1 or 2, however it was trained.
      replicas: copies that share the images; 0: as many as there are devices for.

    Raises:
      InputError, DataError, CheckpointError: see `alexnet_jax.errors`.
    """
    return evaluate_ensemble(
        (workdir, *also), checkpoint, views, data_dir, split, compute_dtype, towers, replicas
    ).evaluation


@processes.explained()
def evaluate_ensemble(
    workdirs: Sequence[str | Path],
    checkpoint: str | int = "best",
    views: int = 10,
    data_dir: str | Path | None = None,
    split: str = "",
    compute_dtype: str = "",
    towers: int = 1,
    replicas: int = 0,
    weights: Literal["equal", "tuned"] = "equal",
    tune_on: str = "same",
) -> Ensemble:
    """Tests the averaged probabilities of runs, and writes `ensemble.json` into the first's folder.

    Args:
      workdirs: run folders; with one alone nothing is averaged or written.
      checkpoint: as for `evaluate_run`, and so are the following.
      views: 1 (centre) or 10.
      data_dir: folder of the prepared sets.
      split: name of the split to test on.
      compute_dtype: type of the activations.
      towers: devices over which each network is spread.
      replicas: copies that share the images.
      weights: `equal` as the paper says, or `tuned` on the top-5 error as 2012 did (`tune`).
      tune_on: `same`: the images of the test, which flatters the result; `half`: every other image,
        and the test is on the rest; else the name of another split.

    Raises:
      InputError, DataError, CheckpointError: see `alexnet_jax.errors`.
    """
    how = {"views": views, "compute_dtype": compute_dtype, "towers": towers, "weights": weights}
    how |= {"replicas": replicas, "tune_on": tune_on, "runs": len(workdirs)}
    processes.check_agreement(how)
    mesh = placement.mesh_or_none(placement.make_mesh(towers, replicas))

    def tested(split: str) -> list[Member]:
        members = []
        for folder in workdirs:
            run = read_run(folder)
            dataset = _dataset_of(run, data_dir)
            weights = load_weights(folder, checkpoint)
            chosen = dataset.split(split or run.config.data.validation_split)
            if processes.count() > 1:
                what = {"the data set's fingerprint": dataset.fingerprint}
                what |= {"the checkpoint's step": weights.step, "images": chosen.num_examples}
                processes.check_agreement(what | {"run_id": run.info.get("run_id", "")})
            result = _evaluate(run, weights.params, chosen, views, mesh, compute_dtype)
            members.append(Member(str(folder), result, dataset.fingerprint, run.class_names))
        return members

    if tune_on == (split or read_run(workdirs[0]).config.data.validation_split):
        tune_on = "same"  # by whatever name: these are the images of the test
    members = tested(split)
    tuned_on = None
    if weights == "tuned" and tune_on == "half":
        tuned_on, members = alternate(members)
    elif weights == "tuned":
        tuned_on = members if tune_on == "same" else tested(tune_on)
    result = evaluate_members(members, tuned_on)
    if len(workdirs) > 1 and processes.is_chief():
        said = {"checkpoint": checkpoint, "views": views, "split": split, "weights": weights}
        try:
            _write_ensemble(
                Path(workdirs[0]), result, said | {"tune_on": tune_on if tuned_on else ""}
            )
        except OSError as error:  # the result of hours must not be lost for its record
            warnings.warn(f"{ENSEMBLE} was not written: {error}", stacklevel=2)
    return result


def _write_ensemble(workdir: Path, result: Ensemble, how: dict[str, Any]) -> None:
    pairs = zip(result.names, result.coefficients, strict=True)
    record = how | {
        "members": [{"run": name, "coefficient": value} for name, value in pairs],
        "images": result.evaluation.count,
        "result": result.evaluation.metrics(),
        "equal_weights": result.equal.metrics(),
        "optimistic": result.optimistic,
        "tuning": result.tuning and result.tuning._asdict(),
    }
    run_folder.write_text(workdir / ENSEMBLE, json.dumps(record, indent=2) + "\n")


def _dataset_of(run: Run, data_dir: str | Path | None) -> Dataset:
    folder = Path(run.info["data_path"])
    if data_dir is not None:
        folder = Path(data_dir) / folder.name
    if not (folder / "prepared.json").exists():
        raise DataError(
            f"the data set of this run is not in {folder}; give its folder with --data-dir, or "
            "prepare it again"
        )
    dataset = open_dataset(folder, run.config.data.cache_bytes)
    if dataset.class_names != run.class_names:
        raise DataError(
            f"the data set in {folder} has other classes than the run; an import takes its class "
            "names from `import-weights --labels`, which may name the folder of a prepared set"
        )
    return dataset


def write_run_report(workdir: str | Path, dataset: Dataset | None = None) -> Path:
    """Writes `report.html` and `model_card.md` of a run; returns the first's path.

    Without its data set the report has no pictures of test images.
    """
    run = read_run(workdir)
    _, summary, probabilities, labels = final_test(run.workdir)
    try:
        weights = load_weights(workdir, "last")
        params = weights.params
    except CheckpointError:  # a run that has not saved yet still has curves
        weights, params = None, {}
    kernel = params["conv1"]["kernel"] if "conv1" in params else None
    if dataset is None:
        try:
            dataset = _dataset_of(run, None)
        except DataError:
            dataset = None
    path = run.workdir / "report.html"
    examples, neighbours = [], []
    if dataset is not None and labels is not None:
        examples = _examples(run, dataset, probabilities, labels)
        if weights is not None:
            neighbours = _neighbours(weights, dataset, examples)
    write_report(
        path,
        config=run.config,
        run=run.info | {"workdir": str(run.workdir)},
        metrics=read_rows(run.workdir / "metrics.jsonl"),
        conv1_kernel=kernel,
        groups=run.network.towers,
        earlier_kernels=_earlier_kernels(run),
        network=run.network,
        evaluation={int(views): values for views, values in summary.items()} or None,
        confusion=None if labels is None else confusion_matrix(np.asarray(probabilities), labels),
        class_names=run.class_names,
        examples=examples,
        neighbours=neighbours,
        bad_images=_bad_images(run.workdir),
    )
    results = {int(views): values for views, values in summary.items()}
    run_folder.write_text(run.workdir / CARD, model_card(run, results))
    return path


def _earlier_kernels(run: Run) -> dict[str, np.ndarray]:
    """Returns conv1's kernel at every checkpoint but the last, by epoch; none if it is frozen."""
    kernels = {}
    if "conv1" in frozen_layers(run.config.schedule, run.config.optimizer):
        return kernels
    for step in kept_steps(run.workdir)[:-1]:
        with contextlib.suppress(CheckpointError):
            params = load_weights(run.workdir, step).params
            if "conv1" in params:
                name = f"epoch {_epochs(run, step):.2f}, step {step:,}"
                kernels[name] = params["conv1"]["kernel"]
    return kernels


def card_beside(output: str | Path) -> Path:
    """Returns where the model card of an export goes: its name and `.md`, perhaps an older card.

    Raises:
      InputError: there is such a file, and it is no model card of this program.
    """
    path = Path(output)
    path = path.with_name(path.name + ".md")
    if path.exists() and not is_card(path):
        raise InputError(f"{path} exists already; remove it or choose another --output")
    return path


def write_card(weights: RunWeights, path: Path) -> None:
    """Writes the model card of exported weights.

    Args:
      weights: what was exported.
      path: from `card_beside`.

    Raises:
      InputError: it cannot be written.
    """
    tested = final_test(weights.run.workdir)
    # The errors are those of the last step; another checkpoint was not tested whole.
    results = tested.summary if tested.step == weights.step else {}
    text = model_card(weights.run, {int(views): values for views, values in results.items()})
    try:
        run_folder.write_text(path, text)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None


def _bad_images(workdir: Path) -> int | None:
    path = workdir / "bad_images.jsonl"
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else None


def _examples(run: Run, dataset: Dataset, probabilities, labels) -> list[Example]:
    """Returns test images drawn at random (seeded), and the worst mistakes."""
    split = dataset.split(run.config.data.validation_split)
    random, mistakes = choose_examples(probabilities, labels, run.config.seed)
    images = split.images(np.asarray(random + mistakes, int))
    return [
        Example(
            image,
            int(labels[index]),
            probabilities[index],
            split.keys[index],
            "random" if place < len(random) else "mistake",
        )
        for place, (index, image) in enumerate(zip(random + mistakes, images, strict=True))
    ]


def _neighbours(
    weights: RunWeights, dataset: Dataset, examples: Sequence[Example]
) -> list[Neighbours]:
    """Returns the first random examples with the training images nearest to them."""
    rows = [example for example in examples if example.kind == "random"][:NEIGHBOUR_ROWS]
    train = dataset.split("train")
    draw = np.random.Generator(np.random.Philox(key=[weights.run.config.seed, 0xF4]))
    searched = np.sort(draw.permutation(len(train))[:NEIGHBOUR_BANK])
    layer = last_hidden_layer(weights.run.network)
    if layer is None or not rows or len(searched) < NEIGHBOURS:
        return []
    classifier = classifier_of(weights)
    queries = classifier.features(np.stack([row.image for row in rows]), layer)
    bank = [
        classifier.features(train.images(part), layer)
        for part in np.array_split(searched, -(-len(searched) // NEIGHBOUR_PART))
    ]
    found, distances = nearest(queries, np.concatenate(bank), NEIGHBOURS)
    return [
        Neighbours(
            row.image,
            row.label,
            train.images(searched[places]),
            [int(label) for label in train.labels[searched[places]]],
            [float(distance) for distance in lengths],
        )
        for row, places, lengths in zip(rows, found, distances, strict=True)
    ]
