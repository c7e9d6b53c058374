"""The report of a run."""

# ruff: noqa: F811 - fixtures have the names of their values

import dataclasses

from tiny import config, dataset, tiny_network  # noqa: F401

from alexnet_jax import workflow
from alexnet_jax.workflow import run_report


def test_nearest_neighbours_are_of_the_split_that_was_trained(
    config, dataset, tmp_path, monkeypatch
):
    data = dataclasses.replace(
        config.data, train_split="test", validation_split="train", stored_size=10
    )
    config = dataclasses.replace(config, batch_size=5, epochs=1, data=data)
    searched, nearest = [], run_report.nearest

    def record(queries, bank, count):
        searched.append(len(bank))
        return nearest(queries, bank, count)

    monkeypatch.setattr(run_report, "nearest", record)
    workflow.train(config, tmp_path / "run", dataset.path.parent, say=lambda line: None)
    assert searched == [dataset.splits["test"]] != [dataset.splits["train"]]
