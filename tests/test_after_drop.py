"""What is measured after a drop of the rate: two rules from one state."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from alexnet_jax import workflow
from alexnet_jax.runs.run_folder import read_run
from alexnet_jax.runs.state import TrainState
from alexnet_jax.training.optimizer import update_rule
from alexnet_jax.training.schedule import rate_tree, rates_at
from experiments import programs
from experiments.after_drop import run as after_drop
from experiments.benchmarks.records import read
from experiments.sweep.variants import MINIATURE


def test_the_drop_is_that_of_the_miniature():
    schedule, optimizer = MINIATURE.schedule, MINIATURE.optimizer
    before, after = (
        rates_at(schedule, optimizer, epochs, MINIATURE.epochs)
        for epochs in (after_drop.EPOCHS - 0.01, after_drop.EPOCHS)
    )
    for name in ("weights", "biases"):
        assert getattr(after, name) == pytest.approx(getattr(before, name) / after_drop.DROP)
    constant = after_drop.recipe()
    begun = rates_at(constant.schedule, constant.optimizer, 0, constant.epochs)
    assert (before, before.colour_noise, after.colour_noise) == (begun, True, True)


def moved(state, optimizer, rates, gradients):
    """The change of the parameters in one step."""
    rule = update_rule(optimizer, state.params)
    return rule.update(gradients, state.opt_state, state.params, rates=rates)[0]


def test_both_rules_begin_in_one_state_and_part_by_the_old_velocity():
    optimizer = dataclasses.replace(MINIATURE.optimizer, weight_decay=0.01)
    outside = dataclasses.replace(optimizer, rate_inside_velocity=False)
    draw = np.random.default_rng(0)
    params, velocity, gradients = (
        {"fc8": {"kernel": jnp.asarray(draw.normal(size=(5, 3))), "bias": jnp.full(3, fill)}}
        for fill in (1.0, 2.0, 3.0)
    )
    old = optax.tree_utils.tree_set(update_rule(optimizer, params).init(params), trace=velocity)
    state = TrainState(jnp.int32(5), params, old, jnp.zeros(2, jnp.uint32))
    now = rates_at(MINIATURE.schedule, optimizer, 0, 8)
    rates = rate_tree(now, optimizer, state.params)
    other = after_drop.outside(state, optimizer, rates)

    def apart(rates):
        first = moved(state, optimizer, rates, gradients)
        second = moved(other, outside, rates, gradients)
        return jax.tree.map(lambda one, two: np.asarray(one - two), first, second)

    for leaf in jax.tree.leaves(apart(rates)):
        np.testing.assert_allclose(leaf, 0, atol=1e-6)
    dropped = jax.tree.map(lambda rate: rate / 10, rates)
    for leaf, v in zip(
        jax.tree.leaves(apart(dropped)), jax.tree.leaves(velocity), strict=True
    ):  # inside keeps all of the velocity, outside a tenth
        np.testing.assert_allclose(leaf, 0.9 * optimizer.momentum * v, atol=1e-5)


@pytest.mark.slow
def test_the_quick_form_measures_both_rules(tmp_path, monkeypatch, few_optimizations, capsys):
    monkeypatch.setattr(programs, "QUICK", tmp_path / "quick")
    monkeypatch.setattr(after_drop, "TOY_STEPS", 2)
    monkeypatch.setattr(after_drop, "MAX_IMAGES", 100)
    words = ["--quick", "--seeds", "1", "--data-dir", str(tmp_path / "data")]
    after_drop.main(words)
    record = read(tmp_path / "quick" / "after_drop.json")
    assert record and [run["seed"] for run in record["runs"]] == [0]
    losses = record["runs"][0]["losses"]
    kept = [losses[way] for way in (after_drop.KEPT, after_drop.KEPT_OUTSIDE)]
    apart = abs(losses[after_drop.INSIDE][2] - losses[after_drop.OUTSIDE][2])
    np.testing.assert_allclose(*kept, atol=apart / 10)
    printed = capsys.readouterr().out
    assert "| 2 | " in printed
    assert "trained" in printed
    after_drop.main(words)
    assert "trained" not in capsys.readouterr().out, "nothing is run twice"

    # Without a drop the run would have gone on so: the same batches, masks and noise.
    place = tmp_path / "quick" / "after_drop" / "seed-0"
    config = read_run(place).config
    longer = dataclasses.replace(config, epochs=config.epochs + 2 * config.batch_size / 1438)
    state = workflow.train(longer, place, tmp_path / "data", retune=True)
    run = read_run(place)
    assert run.info["step"] == 8
    found = after_drop.courses(state, run, Path(run.info["data_path"]), 0)["losses"]
    assert found[after_drop.KEPT][0] == pytest.approx(losses[after_drop.KEPT][2], abs=apart / 10)


@pytest.mark.parametrize(("epochs", "seeds"), [(after_drop.EPOCHS, "9"), (5, "2")])
def test_the_record_keeps_its_seeds_and_recipe(epochs, seeds, monkeypatch, capsys):
    before = after_drop.OUTPUT.read_bytes()
    monkeypatch.setattr(after_drop, "EPOCHS", epochs)
    with pytest.raises(SystemExit):
        after_drop.main(["--data", "CIFAR10", "--seeds", seeds])
    assert "--output FILE" in capsys.readouterr().err
    assert after_drop.OUTPUT.read_bytes() == before
