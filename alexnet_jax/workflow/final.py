"""The final test of a run: written once, read by report and summary."""

import json
import warnings
from typing import Any, NamedTuple

import numpy as np

from alexnet_jax.data.dataset import Dataset
from alexnet_jax.evaluation.evaluate import Evaluation
from alexnet_jax.evaluation.views import averaged_by
from alexnet_jax.files import read_arrays, write_arrays
from alexnet_jax.insight.examples import Example, choose_examples
from alexnet_jax.runs.metrics_log import MetricsLog
from alexnet_jax.runs.run_folder import Run

FINAL = "final.npz"


class FinalTest(NamedTuple):
    """The test that ended a run; empty when there was none."""

    step: int = -1
    summary: dict[str, dict[str, float]] = {}
    probabilities: Any = None
    labels: Any = None


def final_test(run: Run) -> FinalTest:
    """Reads `final.npz`; warns if it is damaged or of another run, and does not change it."""
    path = run.workdir / FINAL
    if not path.exists():
        return FinalTest()
    try:
        arrays = read_arrays(path)
        step = int(arrays["step"]) if "step" in arrays else -1
        summary = json.loads(str(arrays["summary"]))
        run_id = str(arrays["run_id"]) if "run_id" in arrays else ""
        if run_id and run_id != run.info.get("run_id"):
            raise ValueError("of another run")
        test = FinalTest(step, summary, arrays["probabilities"], arrays["labels"])
        _check_final(test)
        return test
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        warnings.warn(
            f"{path} is damaged ({error}) and left out; the training command makes it again",
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
        if views not in ("1", "10") or not numbers or not all(0 <= error <= 1 for error in errors):
            raise ValueError(f"its summary of {views} views is no summary")


def write_final(run: Run, step: int, results: dict[int, Evaluation], dataset: Dataset) -> FinalTest:
    """Writes metrics, pictures and `final.npz`; `results` is by number of views (1, 10)."""
    best_views = max(results)
    probabilities = results[best_views].probabilities
    assert probabilities is not None
    summary = {str(views): result.values for views, result in results.items()}
    log = MetricsLog(run.workdir, step)
    for views, result in results.items():
        row = {"step": step, "epoch": epochs_of(run, step), "test_views": views}
        row["views_averaged"] = averaged_by(run, views).views
        log.add(row | {f"final/{k}": v for k, v in result.values.items()})
    labels = results[best_views].labels
    for place, example in enumerate(examples_of(run, dataset, probabilities, labels)):
        answer = run.class_names[int(np.argmax(example.probabilities))]
        name = f"{example.kind}/{place}: {run.class_names[example.label]}, answer {answer}"
        log.add_picture(step, name, example.image)
    log.close()
    write_arrays(
        run.workdir / FINAL,
        run_id=np.array(run.info.get("run_id", "")),
        probabilities=probabilities,
        labels=labels,
        summary=np.array(json.dumps(summary)),
        step=np.array(step),
    )
    return FinalTest(step, summary, probabilities, labels)


def examples_of(run: Run, dataset: Dataset, probabilities, labels) -> list[Example]:
    """Returns random images and worst mistakes; `probabilities` is float `[images, classes]`."""
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


def epochs_of(run: Run, step: int) -> float:
    return step * run.config.batch_size / run.info.get("epoch_images", run.info["train_images"])
