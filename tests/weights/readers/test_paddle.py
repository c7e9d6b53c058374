"""Paddle's `.pdparams`, pickled as `paddle.save` pickles them."""

import pickle

import numpy as np
import pytest

from alexnet_jax.errors import InputError
from alexnet_jax.weights import READERS
from alexnet_jax.weights.importing import import_weights
from alexnet_jax.weights.readers.file_kinds import find_source

read = READERS["paddle"].read
pytestmark = pytest.mark.filterwarnings("ignore:THESE WEIGHTS LOOK RANDOM")

NAMES = {
    "conv1": "_conv1._conv",
    "conv2": "_conv2._conv",
    "conv3": "_conv3",
    "conv4": "_conv4",
    "conv5": "_conv5._conv",
    "fc6": "_fc6",
    "fc7": "_fc7",
    "fc8": "_fc8",
}


class Tensor:
    """Pickled as a tensor is where it is no member of a state_dict: `tuple((name, array))`."""

    def __init__(self, name, array):
        self.pair = name, array

    def __reduce__(self):
        return tuple, (self.pair,)


@pytest.fixture
def params(narrow_params):
    return narrow_params("one-weird-trick", 96)


@pytest.fixture
def state(params, channels_first):
    arrays = {}
    for name, (weights, biases) in channels_first(params).items():
        weights = weights.T if name.startswith("fc") else weights
        arrays |= {f"{NAMES[name]}.weight": weights, f"{NAMES[name]}.bias": biases}
    names = {name: f"parameter_{i}" for i, name in enumerate(arrays)}
    return arrays | {"StructuredToParameterName@@": names}


def write(tmp_path, value, protocol=4):
    path = tmp_path / "alexnet.pdparams"
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def plain(state):
    return state


def in_a_checkpoint(state):
    tensors = {n: Tensor(n, v) if isinstance(v, np.ndarray) else v for n, v in state.items()}
    return {"epoch": 3, "model": tensors}


def in_wrappers(state):
    return {f"_layers.{n}" if n.startswith("_") else n: v for n, v in state.items()}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("change", [plain, in_a_checkpoint, in_wrappers])
def test_what_follows_a_dropout_is_halved_and_all_else_is_equal(
    change, protocol, state, params, tmp_path, assert_same_params
):
    file = write(tmp_path, change(state), protocol)
    assert find_source(file) == "paddle"
    found = read(file)
    for name in ("fc6", "fc7"):  # dropout halves their input at test
        params[name]["kernel"] /= 2
    assert found.network.name == "one-weird-trick" and "halve" in found.notes[0]
    assert_same_params(found.params, params)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s | {"bn1._mean": np.ones(3, "f4")}, "'bn1._mean' is no array of Paddle's"),
        (lambda s: s | {"_fc7.weight": "text"}, "'_fc7.weight' is no array; save a state_dict"),
        (lambda s: s | {"_fc7.weight": np.array([None])}, "'_fc7.weight' is an array of type"),
        (lambda s: s | {"_fc7.weight": s["_fc7.weight"].T}, "'_fc7' has weights"),
        (lambda s: s | {"_fc7.bias": s["_fc7.bias"].astype("i4")}, "has type int32"),
        (lambda s: {n: v for n, v in s.items() if n != "_fc7.bias"}, "only the weight of '_fc7'"),
        (lambda s: s | {"UnpackBigParamInfor@@": {}}, "arrays in parts; save it with protocol=4"),
        (lambda s: {"a": 1}, "holds no AlexNet of Paddle, whose first array"),
        (lambda s: [s], "holds no AlexNet of Paddle"),
        (lambda s: s | {"_fc7.weight": Tensor(*"ab").pair[0]}, "is no array"),
    ],
)
def test_other_contents_are_refused_in_one_line(change, message, state, tmp_path):
    with pytest.raises(InputError, match=message) as caught:
        import_weights(write(tmp_path, change(state)), "paddle", tmp_path / "run")
    assert "\n" not in str(caught.value) and "alexnet.pdparams" in str(caught.value)


def test_nothing_is_run(state, tmp_path):
    sentinel = tmp_path / "sentinel"

    class Code:
        def __reduce__(self):
            return open, (str(sentinel), "w")

    class Characters:
        def __reduce__(self):
            return tuple, ("many characters",)

    with pytest.raises(InputError, match="tries to call '.*open'.* was not run"):
        read(write(tmp_path, state | {"_fc8.bias": Code()}))
    assert not sentinel.exists()
    with pytest.raises(InputError, match="a tuple of something else"):
        read(write(tmp_path, state | {"_fc8.bias": Characters()}))


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_file_cut_off_anywhere_is_refused(share, state, tmp_path):
    data = write(tmp_path, state).read_bytes()
    (tmp_path / "cut.pdparams").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="cut.pdparams is not a complete pickle"):
        read(tmp_path / "cut.pdparams")
