"""Tests of finished runs on a complete split: one run, or several averaged."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from jax.sharding import Mesh

from alexnet_jax import processes
from alexnet_jax.data.dataset import Dataset, open_dataset
from alexnet_jax.errors import DataError
from alexnet_jax.evaluation.ensemble import Ensemble, Member, alternate, evaluate_members
from alexnet_jax.evaluation.evaluate import Evaluation, evaluate, make_run_predict_step
from alexnet_jax.evaluation.views import averaged_by
from alexnet_jax.files import write_text
from alexnet_jax.network import placement
from alexnet_jax.runs.run_folder import Run, read_run
from alexnet_jax.runs.run_weights import weights_of

ENSEMBLE = "ensemble.json"


def evaluate_params(
    run: Run, params: Any, split: Any, views: int, mesh: Mesh | None, compute_dtype: str = ""
) -> Evaluation:
    """Tests float32 `params` by layer with 1 view (centre) or 10; empty dtype: the training's."""
    step = make_run_predict_step(run, views, mesh, compute_dtype)
    params, inputs = (placement.put(mesh, run.network, tree) for tree in (params, run.inputs))
    return evaluate(step, params, inputs, split, run.config.batch_size, mesh=mesh)


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
    """Tests a run, or several (`also`) as an ensemble of equal weights, on a complete split.

    Args:
      checkpoint: `best`, `last` or a step number, of every run.
      views: 1 (centre) or 10.
      split: empty: the run's validation split.
      compute_dtype: type of the activations, float32 or bfloat16; empty: that of the training.
      towers: devices over which the network is spread, 1 or 2, however it was trained.
      replicas: copies that share the images; 0: as many as there are devices for.

    Raises:
      InputError, DataError, CheckpointError: there is nothing usable to test.
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

    With one run nothing is averaged or written. Arguments and errors are those of `evaluate_run`.

    Args:
      weights: `equal` as the paper says, or `tuned` on the top-5 error as 2012 did (`tune`).
      tune_on: `same`: the images of the test, which flatters the result; `half`: every other image,
        and the test is on the rest; else the name of another split.
    """
    how = {"views": views, "compute_dtype": compute_dtype, "towers": towers, "weights": weights}
    how |= {"replicas": replicas, "tune_on": tune_on, "runs": len(workdirs)}
    processes.check_agreement(how)
    mesh = placement.mesh_or_none(placement.make_mesh(towers, replicas))

    runs = [read_run(folder) for folder in workdirs]

    def members_on(split: str) -> list[Member]:
        return [
            _member(str(folder), run, checkpoint, views, data_dir, split, compute_dtype, mesh)
            for folder, run in zip(workdirs, runs, strict=True)
        ]

    if tune_on == (split or runs[0].config.data.validation_split):
        tune_on = "same"  # these are the images of the test
    members = members_on(split)
    tuned_on = None
    if weights == "tuned" and tune_on == "half":
        tuned_on, members = alternate(members)
    elif weights == "tuned":
        tuned_on = members if tune_on == "same" else members_on(tune_on)
    result = evaluate_members(members, tuned_on)
    if len(workdirs) > 1 and processes.is_chief():
        options = {"checkpoint": checkpoint, "views": views, "split": split, "weights": weights}
        options["tune_on"] = tune_on if tuned_on else ""
        try:
            _write_ensemble(Path(workdirs[0]), result, options)
        except OSError as error:  # hours of work must not be lost because a file was not written
            warnings.warn(f"{ENSEMBLE} was not written: {error}", stacklevel=2)
    return result


def _member(
    name: str,
    run: Run,
    checkpoint: str | int,
    views: int,
    data_dir: str | Path | None,
    split: str,
    compute_dtype: str,
    mesh: Mesh | None,
) -> Member:
    dataset = dataset_of(run, data_dir)
    weights = weights_of(run, checkpoint)
    chosen = dataset.split(split or run.config.data.validation_split)
    if processes.count() > 1:
        what = {"the data set's fingerprint": dataset.fingerprint}
        what |= {"the checkpoint's step": weights.step, "images": chosen.num_examples}
        processes.check_agreement(what | {"run_id": run.info.get("run_id", "")})
    result = evaluate_params(run, weights.params, chosen, views, mesh, compute_dtype)
    return Member(name, result, dataset.fingerprint, run.class_names, averaged_by(run, views))


def _write_ensemble(workdir: Path, result: Ensemble, options: dict[str, Any]) -> None:
    rows = zip(result.names, result.coefficients, result.averaged, strict=True)
    record = options | {
        "members": [
            {"run": name, "coefficient": value, "views_averaged": averaged and averaged.views}
            for name, value, averaged in rows
        ],
        "images": result.evaluation.count,
        "result": result.evaluation.values,
        "equal_weights": result.equal.values,
        "optimistic": result.optimistic,
        "tuning": result.tuning and result.tuning._asdict(),
    }
    write_text(workdir / ENSEMBLE, json.dumps(record, indent=2) + "\n")


def dataset_of(run: Run, data_dir: str | Path | None) -> Dataset:
    """Opens a run's data set; raises `DataError` if it is not there or has other classes."""
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
