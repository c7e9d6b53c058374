"""Configurations: JSON and back, differences, and numbers that no run can have."""

import dataclasses
import json

import pytest

from alexnet_jax.config import Config
from alexnet_jax.errors import InputError
from alexnet_jax.fields import differing_fields
from alexnet_jax.presets import PRESETS
from alexnet_jax.resolution import check_values


def changed(config, name, value):
    """Returns `config` with the field of a dotted name replaced."""
    head, _, rest = name.partition(".")
    return dataclasses.replace(
        config, **{head: changed(getattr(config, head), rest, value) if rest else value}
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_possible_and_survive_json(preset):
    check_values(PRESETS[preset])
    assert Config.from_json(PRESETS[preset].to_json()) == PRESETS[preset]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("epochs", 0.0, "epochs is 0.0; it must be more than 0"),
        ("epochs", -1.0, "epochs is -1.0"),
        ("epochs", float("inf"), "epochs is inf"),
        ("epochs", float("nan"), "epochs is nan"),
        ("batch_size", 0, "batch_size is 0; it must be 1 or more"),
        ("accumulation", 0, "accumulation is 0; it must be 1 or more"),
        ("accumulation", 3, "accumulation is 3; it must divide batch_size"),
        ("seed", -3, "seed is -3; it must be 0 or more"),
        ("seed", 2**32, "seed is 4294967296; it must be 0 or more, below 2**32"),
        ("log_every_steps", 0, "log_every_steps is 0"),
        ("evaluate_every_epochs", 0.0, "evaluate_every_epochs is 0.0"),
        ("checkpoint_every_steps", -1, "checkpoint_every_steps is -1"),
        ("workers", -1, "workers is -1"),
        ("image_size", -224, "image_size is -224"),
        ("optimizer.learning_rate", -0.01, "optimizer.learning_rate is -0.01"),
        ("optimizer.momentum", 1.0, "optimizer.momentum is 1.0; it must be below 1"),
        ("schedule.factor", 0.0, "schedule.factor is 0.0"),
        ("towers", 3, "towers is 3; it must be 1 or 2"),
        ("data.stored_size", 7, "data.stored_size is 7; it must be 8 to 2048 pixels"),
        ("data.jpeg_quality", 0, "data.jpeg_quality is 0; it must be 1 to 100"),
        ("data.validation_fraction", 1.0, "data.validation_fraction is 1.0; it must be below 1"),
        (
            "augment.rotation_probability",
            1.5,
            "augment.rotation_probability is 1.5; it must be 0 to 1",
        ),
        ("augment.rotation_probability", -0.1, "augment.rotation_probability is -0.1"),
        ("augment.rotation_probability", float("nan"), "augment.rotation_probability is nan"),
    ],
)
def test_impossible_numbers_are_named(name, value, text):
    with pytest.raises(InputError) as caught:
        check_values(changed(PRESETS["folder"], name, value))
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("name", ["learning_rate", "bias_learning_rate"])
def test_a_rate_that_the_schedule_replaces_is_refused(name):
    config = changed(PRESETS["imagenet-2010"], f"optimizer.{name}", 0.3)
    option = name.replace("_", "-")
    with pytest.raises(InputError, match=f"optimizer.{name} 0.3 .*phases.0.{option} .*constant"):
        check_values(config)
    check_values(changed(config, "schedule.kind", "constant"))
    check_values(changed(PRESETS["folder"], f"optimizer.{name}", 0.3))  # plateau: it counts


def test_differing_fields_are_dotted():
    other = changed(PRESETS["digits"], "optimizer.momentum", 0.5)
    assert differing_fields(PRESETS["digits"], other) == {"optimizer.momentum": (0.9, 0.5)}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"optimizer": {"learning_rat": 1}}, r"no field 'learning_rat'.*learning_rate"),
        ({"batch_size": "many"}, "config.batch_size should be int, not 'many'"),
    ],
)
def test_fields_of_a_wrong_name_or_type_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        Config.from_json(json.dumps(json.loads(PRESETS["digits"].to_json()) | wrong))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"\x1b[31m": 1}', '{"a\\nb": 1}'])
def test_text_that_is_no_configuration_is_one_plain_line(text):
    with pytest.raises(InputError) as caught:
        Config.from_json(text)
    assert str(caught.value).isprintable()


def test_the_configuration_of_an_older_run_turns_every_image_and_starts_as_its_network_says():
    config = json.loads(PRESETS["folder"].to_json())
    del config["augment"]["rotation_probability"], config["initial_weights"]
    loaded = Config.from_json(json.dumps(config))
    assert loaded == PRESETS["folder"]
    assert (loaded.augment.rotation_probability, loaded.initial_weights) == (1.0, "network")
