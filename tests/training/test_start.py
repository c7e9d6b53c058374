"""What is refused before a run begins, and what a run that breaks off leaves open."""

import dataclasses

import pytest
from tiny import train

from alexnet_jax.config import AUTO, OptimizerConfig, Phase, ScheduleConfig
from alexnet_jax.errors import DivergedError, InputError
from alexnet_jax.presets import PRESETS
from alexnet_jax.resolution import check_before_preparing
from alexnet_jax.training import batches as batches_module


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"optimizer": OptimizerConfig(layer_weight_decay=(("fc10", 1.0),))},
            "optimizer.layer_weight_decay: network 'tiny' has no layer 'fc10'.*conv1, fc2",
        ),
        (
            {"optimizer": OptimizerConfig(layer_learning_rate=(("fc3", 0.1),))},
            "optimizer.layer_learning_rate: .* 'fc3'",
        ),
        (
            {"schedule": ScheduleConfig("step", (Phase(), Phase(2, 0.1, 0.1, (("conv", 0.0),))))},
            "schedule.phases.1.layer_learning_rate: .* 'conv'.*conv1",
        ),
    ],
)
def test_rates_of_layers_that_do_not_exist_are_refused(config, dataset, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        train(dataclasses.replace(config, **changes), tmp_path / "run", dataset)
    assert not (tmp_path / "run" / "config.json").exists()


NAMED = [name for name, config in PRESETS.items() if config.network != AUTO]  # see test_recipes


@pytest.mark.parametrize("name", NAMED)
def test_presets_name_layers_of_their_networks(name):
    check_before_preparing(PRESETS[name])


def test_a_run_that_diverges_closes_its_stream(config, dataset, tmp_path, monkeypatch):
    streams = []
    make = batches_module.device_prefetch

    def make_and_keep(source, **options):
        streams.append(source)
        return make(source, **options)

    monkeypatch.setattr(batches_module, "device_prefetch", make_and_keep)
    wild = dataclasses.replace(config, optimizer=OptimizerConfig(1e30, 1e30), epochs=30)
    with pytest.raises(DivergedError):
        train(wild, tmp_path / "run", dataset)
    assert len(streams) == 1 and streams[0].gi_frame is None
