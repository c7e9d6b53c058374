"""The recipe of 2012 replayed: every change of the logs, and ten steps by an independent trainer.

The rule is `v = 0.9 v - 0.0005 r w - r g; w = w + v` (paper §5, 2012 file `weights.cu`), with r per
layer and leaf from the tables below. Biases do not decay; a leaf with r = 0 does not change. The
logs count epochs from 1, give the weights' rates, and say when the colour noise ended. The biases'
rates are those at the end of the files (`presets.RUN_145_2010` says what is assumed of them).
"""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpy_trainer as oracle
import pytest

from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.data.stream import Batch
from alexnet_jax.network.layers import (
    Dropout,
    Network,
    layer_names,
    parametric_layers,
    with_features,
    without,
)
from alexnet_jax.network.model import AlexNet
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.presets import PRESETS
from alexnet_jax.runs.state import TrainState
from alexnet_jax.training.optimizer import update_rule
from alexnet_jax.training.schedule import rate_tree, rates_at
from alexnet_jax.training.steps import make_train_step

GOLDEN = Path(__file__).parents[1] / "golden" / "replay.json"

# Epochs from .. to, the weights' and the biases' rate of each group, colour noise. A group that a
# row does not name has the rates of "rest".
Row = tuple[int, int, dict[str, tuple[float, float]], bool]
LOGS: dict[str, list[Row]] = {
    "imagenet-2010": [  # layer-params-145-2010.cfg
        (1, 22, {"rest": (0.01, 0.02)}, True),
        (23, 50, {"rest": (1e-3, 0.002)}, True),
        (51, 67, {"rest": (1e-4, 0.002)}, True),
        (68, 71, {"conv1": (1e-5, 0.002), "rest": (1e-4, 0.002)}, False),
        (72, 77, {"conv1": (0, 0), "rest": (1e-4, 0.002)}, False),
        (78, 93, {"conv1": (0, 0), "rest": (1e-5, 0.002)}, False),
    ],
    "imagenet-original": [  # layer-params-145.cfg
        (1, 24, {"rest": (0.01, 0.02)}, True),
        (25, 50, {"rest": (1e-3, 0.02)}, True),
        (51, 66, {"rest": (1e-4, 0.02)}, True),
        (67, 71, {"conv1": (1e-5, 0.02), "rest": (1e-4, 0.02)}, False),
        (72, 78, {"conv1": (0, 0), "rest": (1e-4, 0.02)}, False),
        (79, 91, {"conv1": (0, 0), "rest": (1e-5, 0.02)}, False),
    ],
    "fall-2009": [  # layer-params-146-2009.cfg; the drop is within epoch 2, see below
        (1, 1, {"convs": (1e-3, 0.02), "conv6": (0.01, 0.002), "rest": (0.01, 0.02)}, True),
        (3, 5, {"conv6": (1e-3, 0.002), "rest": (1e-3, 0.02)}, True),
    ],
    "fall-2011-pretrain": [  # layer-params-146-2011.cfg
        (1, 5, {"convs": (1e-3, 0.02), "conv6": (1e-3, 0.002), "rest": (0.01, 0.02)}, True),
        (6, 7, {"conv6": (1e-3, 0.002), "rest": (1e-3, 0.02)}, True),
    ],
    "imagenet-finetune": [  # layer-params-146-2012-2011.cfg; conv6's 0.022 is so in the file
        (2, 4, {"conv1": (1e-4, 0.02), "conv6": (1e-3, 0.022), "fc8": (0.01, 0.02),
                "rest": (1e-3, 0.02)}, True),
        (5, 6, {"conv1": (1e-5, 0.02), "conv6": (1e-3, 0.022), "fc8": (0.01, 0.02),
                "rest": (1e-3, 0.02)}, True),
        (7, 8, {"conv1": (0, 0), "conv6": (1e-3, 0.022), "fc8": (0.01, 0.02),
                "rest": (1e-3, 0.02)}, True),
        (9, 21, {"conv1": (0, 0), "conv6": (1e-3, 0.022), "rest": (1e-3, 0.02)}, True),
        (22, 37, {"conv1": (0, 0), "conv6": (1e-4, 0.022), "rest": (1e-4, 0.02)}, True),
        (38, 41, {"conv1": (0, 0), "conv6": (1e-4, 0.022), "rest": (1e-4, 0.02)}, False),
        (42, 54, {"conv1": (0, 0), "conv6": (1e-5, 0.022), "rest": (1e-5, 0.02)}, False),
    ],
}  # fmt: skip
CONVS = ("conv1", "conv2", "conv3", "conv4", "conv5")


def logged(row: Row, layer: str) -> tuple[float, float]:
    """The rates that the log gives a layer."""
    group = "convs" if layer in CONVS and "convs" in row[2] else layer
    return row[2].get(group, row[2]["rest"])


def rates_of(preset: str, finished_epochs: float, layers):
    """The program's rates: (`{layer: (weights, biases)}`, colour noise)."""
    config = PRESETS[preset]
    rates = rates_at(config.schedule, config.optimizer, finished_epochs, config.epochs)
    tree = rate_tree(rates, config.optimizer, {name: {"kernel": 0, "bias": 0} for name in layers})
    return {k: (v["kernel"], v["bias"]) for k, v in tree.items()}, rates.colour_noise


@pytest.mark.parametrize("preset", LOGS)
def test_every_epoch_has_the_rates_of_the_log(preset):
    layers = [layer.name for layer in parametric_layers(NETWORKS[PRESETS[preset].network].layers)]
    for row in LOGS[preset]:
        for epoch in range(row[0], row[1] + 1):
            for finished in (epoch - 1, epoch - 0.5, epoch - 0.001):
                rates, noise = rates_of(preset, finished, layers)
                assert noise is row[3], (epoch, finished)
                for layer in layers:
                    expected = pytest.approx(logged(row, layer), rel=1e-6)
                    assert rates[layer] == expected, (epoch, layer)


@pytest.mark.parametrize(
    ("preset", "epochs"),
    [
        ("imagenet-2010", 93),
        ("imagenet-original", 91),
        ("fall-2009", 5 + 6491 / 8691),  # killed at 6.6491, in files of 1,024 images
        ("fall-2011-pretrain", 7 + 11295 / 14650),
        ("imagenet-finetune", 54),
    ],
)
def test_runs_end_where_the_logs_end(preset, epochs):
    assert PRESETS[preset].epochs == epochs


def test_changes_within_an_epoch_come_at_the_logged_file():
    before, after = (1 + 1599 / 8691, 1 + 1601 / 8691)  # 2.1600: of 8,691 files
    fresh = [rates_of("fall-2009", t, ("conv6", "fc8", "conv1"))[0] for t in (before, after)]
    assert [float(rates["fc8"][0]) for rates in fresh] == pytest.approx([0.01, 1e-3])
    assert [float(rates["conv6"][0]) for rates in fresh] == pytest.approx([0.01, 1e-3])
    assert [float(rates["conv1"][0]) for rates in fresh] == pytest.approx([1e-3, 1e-3])
    times = (299 / 1251, 301 / 1251)  # "300 batches", which are files of 1,024 images
    heads = [rates_of("imagenet-finetune", t, ("fc8", "fc7"))[0] for t in times]
    assert [float(rates["fc8"][0]) for rates in heads] == pytest.approx([1e-3, 0.01])
    assert [float(rates["fc7"][0]) for rates in heads] == pytest.approx([1e-3, 1e-3])


@pytest.mark.parametrize("preset", LOGS)
def test_presets_of_the_logged_runs_have_the_rest_of_the_recipe(preset):
    config = PRESETS[preset]
    assert config.batch_size == 128
    assert (config.optimizer.momentum, config.optimizer.weight_decay) == (0.9, 5e-4)
    assert (config.preprocess.mean, config.preprocess.scale) == ("image", "none")
    augment = config.augment
    assert (augment.recipe, augment.mirror, augment.crop_chunk) == ("crop", True, 32)
    assert (augment.colour_noise, augment.colour_form) == (0.1, "2012")
    dropouts = [x for x in NETWORKS[config.network].layers if isinstance(x, Dropout)]
    assert dropouts == [Dropout(0.5, inverted=False)] * 2
    assert config.final_views == 10


@pytest.mark.parametrize(
    ("preset", "layers"),
    [
        ("fall-2009", CONVS),
        ("fall-2011-pretrain", (*CONVS, "conv6")),
        ("imagenet-finetune", (*CONVS, "conv6", "fc6", "fc7")),
    ],
)
def test_transferred_layers_are_those_of_the_log_and_fit(preset, layers):
    assert PRESETS[preset].transfer.layers == layers
    chain = ("imagenet-original", "fall-2009", "fall-2011-pretrain", "imagenet-finetune")
    parent = PRESETS[chain[chain.index(preset) - 1]].network
    for network in (parent, PRESETS[preset].network):
        known = [layer.name for layer in parametric_layers(NETWORKS[network].layers)]
        assert set(layers) <= set(known)


# Ten steps, each in another phase of the log of 145-2010, at the epoch of the first number.
STEPS = (1, 22, 23, 50, 51, 67, 68, 72, 78, 93)
SIZE, IMAGES, CLASSES = 52, 6, 5
NARROW = {"conv1": 8, "conv2": 12, "conv3": 10, "conv4": 8, "conv5": 8, "fc6": 16, "fc7": 12}
PRESET = PRESETS["imagenet-2010"]


def narrow(dropout: bool) -> Network:
    layers = with_features(NETWORKS["original"].layers, NARROW | {"fc8": CLASSES})
    return Network("narrow", layers if dropout else without(layers, Dropout), SIZE, "this test")


def start(network: Network) -> dict[str, dict[str, np.ndarray]]:
    """Parameters from NumPy's frozen generator, large enough for a narrow network to learn."""
    rng = np.random.RandomState(2012)
    shapes = jax.eval_shape(
        lambda: AlexNet(network).init(jax.random.key(0), np.zeros((1, SIZE, SIZE, 3), np.float32))
    )["params"]
    params = {}
    for layer in parametric_layers(network.layers):
        shape = shapes[layer.name]["kernel"].shape
        std = 0.01 if layer.name == "conv1" else 1 / np.sqrt(np.prod(shape[:-1]))
        bias = np.full(shape[-1], 0.1 * layer.bias)
        params[layer.name] = {"kernel": std * rng.standard_normal(shape), "bias": bias}
    return params


def batches() -> list[Batch]:
    rng = np.random.RandomState(145)
    return [
        Batch(
            images=rng.randint(0, 256, (IMAGES, SIZE, SIZE, 3)).astype(np.uint8),
            labels=rng.randint(0, CLASSES, IMAGES).astype(np.int32),
            mask=np.ones(IMAGES, bool),
            colour=rng.standard_normal((IMAGES, 3)),
            offsets=np.zeros((IMAGES, 2), np.int32),
            flips=np.zeros(IMAGES, bool),
        )
        for _ in STEPS
    ]


def inputs() -> Inputs:
    rng = np.random.RandomState(2010)
    mean = rng.uniform(90, 140, (SIZE, SIZE, 3))
    return Inputs(mean, np.ones(3), rng.standard_normal((3, 3)) * (20.0, 37.0, 122.0))


def table_rates(epoch: int, layers) -> dict[str, dict[str, float]]:
    """The log's rates at an epoch, in the float32 in which the program hands them to the step."""
    row = next(row for row in LOGS["imagenet-2010"] if row[0] <= epoch <= row[1])
    pairs = {layer: [float(np.float32(rate)) for rate in logged(row, layer)] for layer in layers}
    return {layer: {"kernel": w, "bias": b} for layer, (w, b) in pairs.items()}


def by_numpy(masks=None):
    """Losses, parameters and velocities after each of the ten steps, by the oracle."""
    params = start(narrow(masks is not None))
    velocity = {k: {n: np.zeros_like(a) for n, a in v.items()} for k, v in params.items()}
    fixed, losses = inputs(), []
    for step, (epoch, batch) in enumerate(zip(STEPS, batches(), strict=True)):
        noise = 0.1 if epoch < 68 else 0.0
        images = oracle.ready(batch.images, fixed.mean, fixed.colour, batch.colour, noise)
        mask = None if masks is None else masks(step, params, images)
        loss, grads = oracle.gradients(params, images, batch.labels, mask)
        oracle.update(params, velocity, grads, table_rates(epoch, params))
        losses.append(loss)
    return losses, params, velocity


def by_jax(dropout: bool):
    """The same by the program: its rates, its step, its optimiser, in float64."""
    network = narrow(dropout)
    params: Any = jax.tree.map(np.asarray, start(network))
    opt_state = update_rule(PRESET.optimizer, params).init(params)
    key = jax.random.key_data(jax.random.key(7))
    state = TrainState(np.zeros((), np.int32), params, opt_state, key)  # type: ignore[arg-type]
    step = make_train_step(network, PRESET.optimizer, PRESET.preprocess, PRESET.augment, np.float64)
    losses = []
    for epoch, batch in zip(STEPS, batches(), strict=True):
        rates = rates_at(PRESET.schedule, PRESET.optimizer, epoch - 1, PRESET.epochs)
        tree = rate_tree(rates, PRESET.optimizer, start(network))
        tree = jax.tree.map(np.float64, tree)
        state, sums = step(state, batch, inputs(), tree, np.bool_(rates.colour_noise))
        losses.append(float(sums.loss) / IMAGES)
    velocity = next(x.trace for x in state.opt_state if hasattr(x, "trace"))  # type: ignore
    return losses, state.params, velocity


def masks_of_jax(network: Network):
    """What the program's dropouts keep at a step; where ReLU gives 0 it makes no difference."""
    names = [n for n in layer_names(network.layers) if n.startswith("dropout")]
    model = AlexNet(network, np.float64)  # type: ignore[arg-type]

    @jax.jit
    def kept(params, images, step):
        key = jax.random.fold_in(jax.random.key(7), step)
        outputs = [
            model.apply({"params": params}, images, train=True, rngs={"dropout": key}, capture=n)
            for n in names
        ]
        return [output != 0 for output in outputs]

    return lambda step, params, images: [np.asarray(m) for m in kept(params, images, step)]


def assert_same(found, expected, tolerance=1e-9):
    for layer in expected:
        for leaf, values in expected[layer].items():
            array = np.asarray(found[layer][leaf])
            assert array.dtype == np.float64
            scale = np.abs(values).max()
            np.testing.assert_allclose(
                array, values, rtol=0, atol=tolerance * scale, err_msg=f"{layer} {leaf}"
            )


@pytest.mark.slow
def test_ten_steps_through_the_log_are_those_of_the_independent_trainer(float64):
    losses, params, velocity = by_numpy()
    found, found_params, found_velocity = by_jax(dropout=False)
    assert found == pytest.approx(losses, rel=1e-9)
    assert_same(found_params, params)
    assert_same(found_velocity, velocity)
    first = start(narrow(False))
    moved = {k: np.abs(params[k]["kernel"] - first[k]["kernel"]).max() for k in params}
    assert min(moved.values()) > 1e-5, "all layers learn, or the comparison says nothing"


@pytest.mark.slow
def test_ten_steps_with_dropout_as_in_2012_are_those_of_the_independent_trainer(float64):
    found, found_params, _ = by_jax(dropout=True)
    losses, params, _ = by_numpy(masks_of_jax(narrow(True)))
    assert found == pytest.approx(losses, rel=1e-9)
    assert_same(found_params, params)
    assert losses[0] != pytest.approx(by_numpy()[0][0], rel=1e-3), "the masks do something"


def summary() -> dict[str, Any]:
    """What the golden file holds: losses, and two numbers for each leaf after ten steps."""
    losses, params, velocity = by_numpy()
    leaves = {
        f"{layer} {leaf}": [float(a.sum()), float((a * a).sum()), float((v * v).sum())]
        for layer in params
        for leaf, a in params[layer].items()
        for v in (velocity[layer][leaf],)
    }
    return {"losses": [float(loss) for loss in losses], "sum, squares, velocity squares": leaves}


def test_the_independent_trainer_gives_the_golden_numbers():
    golden = json.loads(GOLDEN.read_text())
    found = summary()
    assert found["losses"] == pytest.approx(golden["losses"], rel=1e-9)
    for name, values in golden["sum, squares, velocity squares"].items():
        assert found["sum, squares, velocity squares"][name] == pytest.approx(
            values, rel=1e-9, abs=1e-12
        ), name


@pytest.mark.parametrize("layer", ["conv2", "lrn", "rnorm", "pool"])
def test_the_oracle_s_gradients_are_those_of_differences(layer):
    """Central differences of a random projection of each operation."""
    rng = np.random.RandomState(3)
    x = rng.standard_normal((2, 6, 6, 4)) * 30
    kernel, bias = rng.standard_normal((5, 5, 2, 6)), rng.standard_normal(6)

    def compute(x):
        match layer:
            case "conv2":
                return oracle.convolve(x, kernel, bias, stride=2, padding=1, groups=2)
            case "lrn":
                return oracle.normalize(x, oracle.across_maps(2, 5), 2.0, 1e-2, 0.75)
            case "rnorm":
                return oracle.normalize(x, oracle.within_a_map(5), 1.0, 1e-2, 0.75)
        return oracle.pool(x)

    y, backward = compute(x)
    dy = rng.standard_normal(y.shape)
    dx = backward(dy)[0]
    for _ in range(5):
        direction = rng.standard_normal(x.shape)
        step = 1e-5
        numeric = ((compute(x + step * direction)[0] - compute(x - step * direction)[0]) * dy).sum()
        assert numeric / (2 * step) == pytest.approx((dx * direction).sum(), rel=1e-5)
