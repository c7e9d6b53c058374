"""Whether an experiment can be run, and what it comes to. An error is one line.

`check_before_preparing` refuses what needs no data to be seen, before hours of preparation.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

from alexnet_jax.appearance import Appearance
from alexnet_jax.config import Config, DataConfig, OptimizerConfig, TransferConfig
from alexnet_jax.errors import InputError, did_you_mean
from alexnet_jax.fields import check_bounds
from alexnet_jax.network.layers import (
    Network,
    layers_with_parameters,
    summarize,
    with_fan_in_weights,
)
from alexnet_jax.network.networks import find_network
from alexnet_jax.source_kinds import SOURCE_KINDS

if TYPE_CHECKING:
    from alexnet_jax.network.model import Params


class Resolved(NamedTuple):
    """What a configuration comes to on a data set; `image_size` is height and width in pixels."""

    network: Network
    image_size: int


class Facts(NamedTuple):
    """What is known of a prepared data set; `stored_size` is height and width at rest, pixels."""

    classes: int
    stored_size: int


def check_before_preparing(config: Config) -> None:
    """Raises `InputError` for an experiment that is impossible whatever the data set holds."""
    check_values(config)
    check_data(config.data)
    _resolve(config, Facts(config.classes or 2, config.data.stored_size))
    if config.data.source:
        _check_transfer_has_run(config)


def resolve(config: Config, facts: Facts, source: Resolved | None = None) -> Resolved:
    """Returns the network for a data set; `source` is that of `transfer.run`.

    Raises:
      InputError: names the field, its value and what it must be.
    """
    resolved = _resolve(config, facts)
    _check_transfer_has_run(config)
    if source is not None:
        check_layers_fit(config.transfer, _shapes(resolved), _shapes(source))
    return resolved


def _resolve(config: Config, facts: Facts) -> Resolved:
    network = find_network(config.network)
    if config.classes and config.classes != facts.classes:
        raise InputError(
            f"classes is {config.classes}, but the data set has {facts.classes}; leave it at 0"
        )
    network = network.with_classes(facts.classes)
    image_size = config.image_size or network.image_size
    summarize(network, image_size)
    if config.initial_weights == "fan-in":
        network = with_fan_in_weights(network, image_size)
    if image_size > facts.stored_size:
        raise InputError(
            f"network '{config.network}' reads {image_size}x{image_size} pixels, but the images "
            f"are stored with {facts.stored_size}x{facts.stored_size}; prepare them with a larger "
            "data.stored-size, or set a smaller --image-size"
        )
    # Preparing data asks this module, too, and needs no JAX: half of its start.
    from alexnet_jax.network.towers import tower_network

    tower_network(network, config.towers)
    _check_layer_names(config, network)
    if config.transfer.run and not config.transfer.layers:
        raise InputError(
            f"--transfer.run {config.transfer.run} copies nothing; name layers with "
            "--transfer.layers"
        )
    return Resolved(network, image_size)


def _check_layer_names(config: Config, network: Network) -> None:
    """Raises `InputError` for a rate or decay of a layer that the network does not have."""
    rates = {
        "optimizer.layer_learning_rate": config.optimizer.layer_learning_rate,
        "optimizer.layer_weight_decay": config.optimizer.layer_weight_decay,
    } | {
        f"schedule.phases.{i}.{field}": getattr(phase, field)
        for i, phase in enumerate(config.schedule.phases)
        for field in ("layer_learning_rate", "layer_bias_learning_rate")
    }
    known = layers_with_parameters(network)
    for field, pairs in rates.items():
        for layer, _ in pairs:
            if layer not in known:
                raise InputError(
                    f"{field}: network '{network.name}' has no layer '{layer}'."
                    f"{did_you_mean(layer, known)} Layers with parameters: {', '.join(known)}"
                )


def _check_transfer_has_run(config: Config) -> None:
    if config.transfer.layers and not config.transfer.run:
        raise InputError(
            f"preset '{config.preset}' starts from the layers of another run "
            f"({', '.join(config.transfer.layers)}): name its folder with --transfer.run"
        )


def _shapes(of: Resolved) -> "Params":
    import jax

    from alexnet_jax.network.model import init_params

    return jax.eval_shape(lambda: init_params(of.network, of.image_size, 0))


def check_layers_fit(transfer: TransferConfig, params: "Params", source: "Params") -> None:
    """Raises `InputError` unless the named layers are in both and of the same shapes."""
    for layer in transfer.layers:
        for side, tree in (("this network", params), (f"run {transfer.run}", source)):
            if layer not in tree:
                raise InputError(
                    f"transfer.layers: {side} has no layer '{layer}'.{did_you_mean(layer, tree)}"
                )
        for leaf in params[layer]:
            here, there = params[layer][leaf].shape, source[layer][leaf].shape
            if here != there:
                raise InputError(
                    f"transfer.layers: '{layer}' is {list(there)} in {transfer.run}, but "
                    f"{list(here)} here; leave it out to start it fresh"
                )


def check_values(config: Config) -> None:
    """Raises `InputError` for numbers that no run can have, and rates that would have no effect."""
    check_bounds(config)
    if config.batch_size % config.accumulation:
        raise InputError(
            f"accumulation is {config.accumulation}; it must divide batch_size {config.batch_size}"
        )
    _check_phases(config)


def _check_phases(config: Config) -> None:
    """Raises `InputError` for rates below 0, and for rates that the first phase replaces."""
    for phase in config.schedule.phases:
        layers = (*phase.layer_learning_rate, *phase.layer_bias_learning_rate)
        rates = (phase.learning_rate, phase.bias_learning_rate, *(rate for _, rate in layers))
        if any(rate is not None and not 0 <= rate < math.inf for rate in rates):
            raise InputError(
                f"schedule.phases: epoch {phase.epoch:g} has a rate below 0; 0 freezes"
            )
    first = [phase for phase in config.schedule.phases if phase.epoch <= 1]
    if config.schedule.kind != "step" or not first:
        return
    for name in ("learning_rate", "bias_learning_rate"):
        value, used = getattr(config.optimizer, name), getattr(first[-1], name)
        if used is not None and value not in (used, getattr(OptimizerConfig, name)):
            option = name.replace("_", "-")
            raise InputError(
                f"optimizer.{name} {value:g} would have no effect: the step schedule begins with "
                f"{used:g}; set --schedule.phases.0.{option} (and those of the later phases), or "
                "--schedule.kind constant"
            )


def check_data(data: DataConfig) -> None:
    """Raises `InputError` for options with which no data set can be prepared."""
    check_source_kind(data.source_kind)
    check_bounds(data, "data.")
    for name in Appearance._fields:
        choice = getattr(data, name)
        if choice != "auto" and not SOURCE_KINDS[data.source_kind].has_files:
            raise InputError(
                f"data.{name} '{choice}' has no effect: {data.source_kind} holds no image files; "
                "leave it at auto"
            )


def check_source_kind(kind: str) -> None:
    """Raises `InputError` unless `kind` is a kind of source."""
    if kind not in SOURCE_KINDS:
        raise InputError(
            f"unknown kind of source '{kind}'; one of {', '.join(SOURCE_KINDS)}."
            f"{did_you_mean(kind, SOURCE_KINDS)}"
        )
