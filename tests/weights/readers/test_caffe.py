"""Caffe's files, written by hand, against PyTorch fed as Caffe feeds its networks: BGR."""

from pathlib import Path

import numpy as np
import pytest
from hostile import field, memory_below, varint

import alexnet_jax
from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Conv, parametric_layers
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.weights import READERS
from alexnet_jax.weights.importing import import_weights
from alexnet_jax.weights.readers.caffe import read_mean
from alexnet_jax.weights.readers.source_file import open_source

read = READERS["caffe"].read
pytestmark = pytest.mark.filterwarnings("ignore:THESE WEIGHTS LOOK RANDOM")

WIDTHS = {"conv1": 8, "conv2": 12, "conv3": 8, "conv4": 6, "conv5": 4, "fc6": 7, "fc7": 9, "fc8": 5}
SIZE, STORED = 99, 115  # two by two pixels are left before fc6
ORDERS = {"caffenet": ("Pooling", "LRN"), "bvlc-alexnet": ("LRN", "Pooling")}
LRN = 5, 1e-4, 0.75, 1.0
OLD_TYPES = {"Convolution": 4, "InnerProduct": 14, "LRN": 15, "Pooling": 17}


@pytest.fixture(autouse=True)
def _narrow(narrow_network):
    for name in ORDERS:
        narrow_network(name, WIDTHS, image_size=SIZE)


def blob(array, *, old=False, double=False) -> bytes:
    data = field(8 if double else 5, array.astype("<f8" if double else "<f4").tobytes())
    if not old:
        return field(7, field(1, b"".join(varint(n) for n in array.shape))) + data
    shape = (1,) * (4 - array.ndim) + array.shape
    return b"".join(field(i + 1, n) for i, n in enumerate(shape)) + data


def net(weights, order, *, old=False, double=False, lrn=LRN, blob_of=blob) -> bytes:
    """Returns a `.caffemodel` of either generation."""
    size, alpha, beta, k = lrn
    norm = field(1, size) + field(2, alpha) + field(3, beta) + field(5, k)

    def layer(name, kind, blobs=()) -> bytes:
        if old:
            body = field(4, name) + field(5, OLD_TYPES[kind]) + (kind == "LRN") * field(18, norm)
            return field(2, body + b"".join(field(6, b) for b in blobs))
        body = field(1, name) + field(2, kind) + (kind == "LRN") * field(118, norm)
        return field(100, body + b"".join(field(7, b) for b in blobs))

    data = field(1, "CaffeNet")
    for name, arrays in weights.items():
        kind = "Convolution" if name.startswith("conv") else "InnerProduct"
        data += layer(name, kind, [blob_of(array, old=old, double=double) for array in arrays])
        if name in ("conv1", "conv2"):
            data += b"".join(layer(f"{kind}{name[-1]}", kind) for kind in order)
    return data


def draw(name) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns random weights in Caffe's layouts."""
    rng = np.random.default_rng(3)
    weights, inputs = {}, 3
    for layer in parametric_layers(NETWORKS[name].layers):
        if isinstance(layer, Conv):
            shape = (layer.features, inputs // layer.groups, layer.window, layer.window)
        else:
            shape = (layer.features, inputs * 4 if layer.name == "fc6" else inputs)
        std = (2 / np.prod(shape[1:])) ** 0.5 * (0.02 if layer.name == "conv1" else 1)
        kernel = (rng.normal(size=shape) * std).astype("f4")
        weights[layer.name] = kernel, rng.normal(0, 0.1, layer.features).astype("f4")
        inputs = layer.features
    return weights


def write(tmp_path, data: bytes, name="net.caffemodel"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.oracle
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", ORDERS)
def test_probabilities_are_those_of_caffes_arithmetic(name, old, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch, the oracle, is not installed")
    F = torch.nn.functional
    weights = draw(name)
    file = write(tmp_path, net(weights, ORDERS[name], old=old))
    mean = np.random.default_rng(4).uniform(90, 140, (1, 3, STORED, STORED)).astype("f4")
    mean_file = write(tmp_path, blob(mean, old=True), "mean.binaryproto")
    done = import_weights(file, "caffe", tmp_path / "run", mean=mean_file)
    assert done.network == name
    images = np.random.default_rng(5).integers(0, 256, (2, STORED, STORED, 3), dtype=np.uint8)
    classifier = alexnet_jax.load(tmp_path / "run")
    assert (classifier.image_size, classifier.stored_size) == (SIZE, STORED)

    bgr = torch.tensor(images[..., ::-1].copy()).permute(0, 3, 1, 2).float() - torch.tensor(mean)
    x = bgr[:, :, 8 : 8 + SIZE, 8 : 8 + SIZE]
    w = {name: tuple(map(torch.tensor, arrays)) for name, arrays in weights.items()}
    steps = {
        "Pooling": lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True),
        "LRN": lambda x: F.local_response_norm(x, 5, 1e-4, 0.75, 1.0),
    }
    x = F.relu(F.conv2d(x, *w["conv1"], stride=4))
    for step in ORDERS[name]:
        x = steps[step](x)
    x = F.relu(F.conv2d(x, *w["conv2"], padding=2, groups=2))
    for step in ORDERS[name]:
        x = steps[step](x)
    x = F.relu(F.conv2d(x, *w["conv3"], padding=1))
    x = F.relu(F.conv2d(x, *w["conv4"], padding=1, groups=2))
    x = steps["Pooling"](F.relu(F.conv2d(x, *w["conv5"], padding=1, groups=2))).flatten(1)
    x = F.relu(F.linear(F.relu(F.linear(x, *w["fc6"])), *w["fc7"]))
    expected = F.softmax(F.linear(x, *w["fc8"]), dim=1).numpy()
    assert expected.std(axis=0).max() > 1e-3
    np.testing.assert_allclose(classifier.probabilities(images), expected, rtol=1e-4, atol=1e-6)


def test_old_shapes_and_doubles_mean_the_same(tmp_path, assert_same_params):
    weights = draw("caffenet")
    plain = read(write(tmp_path, net(weights, ORDERS["caffenet"])))

    def padded(array, *, old, double):  # as the zoo's files of 2014 have it
        return blob(array.reshape((1,) * (4 - array.ndim) + array.shape), old=old, double=double)

    data = net(weights, ORDERS["caffenet"], old=True, double=True, blob_of=padded)
    other = read(write(tmp_path, data, "old"))
    assert_same_params(other.params, plain.params)


def test_conv1_is_turned_to_rgb_and_the_mean_with_it(tmp_path):
    weights = draw("caffenet")
    reading = read(write(tmp_path, net(weights, ORDERS["caffenet"])))
    expected = weights["conv1"][0].transpose(2, 3, 1, 0)[:, :, ::-1]
    np.testing.assert_array_equal(reading.params["conv1"]["kernel"], expected)
    np.testing.assert_allclose(reading.inputs.mean, [122.679, 116.669, 104.007], rtol=1e-6)
    mean = np.arange(3, dtype="f4").reshape(1, 3, 1, 1) * np.ones((1, 3, STORED, STORED), "f4")
    file = open_source(write(tmp_path, blob(mean), "mean"))
    assert read_mean(file, SIZE)[4, 7].tolist() == [2, 1, 0]


def test_the_reference_mean_has_caffes_channel_means(tmp_path):
    reference = Path(__file__).parents[4] / "shared/data/alexnet_reference/ilsvrc12_mean.npz"
    if not reference.exists():
        pytest.skip("shared/data/alexnet_reference is not there")
    bgr = np.load(reference)["mean_bgr_chw"]
    image = read_mean(open_source(write(tmp_path, blob(bgr[None], old=True), "mean")), 227)
    assert image.shape == (256, 256, 3)
    np.testing.assert_allclose(
        image.mean(axis=(0, 1), dtype="f8"), [122.679, 116.669, 104.007], atol=1e-3
    )


def test_a_file_without_normalization_needs_the_networks_name(tmp_path):
    file = write(tmp_path, net(draw("caffenet"), ()))
    with pytest.raises(InputError, match="name --network caffenet"):
        read(file)
    assert read(file, "bvlc-alexnet").network.name == "bvlc-alexnet"


@pytest.mark.parametrize(
    "lrn", [(5, 1e-4, 0.75, 2.0), (5, 5e-4, 0.75, 1.0), (3, 6e-5, 0.75, 1.0), (4, 8e-5, 0.75, 1.0)]
)
def test_other_constants_of_the_normalization_are_refused(lrn, tmp_path):
    file = write(tmp_path, net(draw("caffenet"), ORDERS["caffenet"], lrn=lrn))
    with pytest.raises(InputError, match="'caffenet' has 5, 2e-05, 0.75, 1"):
        read(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda array: np.full_like(array, np.nan), "not finite"),
        (lambda array: array[:-1], "but network 'caffenet'"),
        (lambda array: array.reshape(-1), "fc8's weights are no matrix"),
    ],
)
def test_wrong_arrays_are_refused(change, message, tmp_path):
    def changed(array, **how):
        return blob(change(array), **how)

    data = net(draw("caffenet"), ORDERS["caffenet"], blob_of=changed)
    with pytest.raises(InputError, match=message) as caught:
        import_weights(write(tmp_path, data), "caffe", tmp_path / "run")
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


HUGE = varint(2**40)
BOMBS = {
    "huge shape": field(
        100, field(7, field(7, field(1, b"\xff" * 8 + b"\x7f")) + field(5, b"abcd"))
    ),
    "many dimensions": field(100, field(7, field(7, field(1, b"\1" * 5000)) + field(5, b"abcd"))),
    "huge length": varint(100 << 3 | 2) + HUGE + b"abc",
    "endless number": b"\xff" * 100,
    "many empty layers": field(100, b"") * 300_000,
    "many empty blobs": field(100, field(7, b"") * 300_000),
    "groups within groups": b"\x0b" * 300_000,
    "no layers": field(1, "name"),
    "text": b"name: 'AlexNet'\nlayer { name: 'data' }\n",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_damaged_messages_are_refused_in_little_memory(bomb, tmp_path):
    file = write(tmp_path, BOMBS[bomb])
    with memory_below(4 * len(BOMBS[bomb]) + 2_000_000):
        with pytest.raises(InputError, match="net.caffemodel") as caught:
            import_weights(file, "caffe", tmp_path / "run", network="caffenet")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_file_cut_off_anywhere_is_refused(share, tmp_path):
    data = net(draw("caffenet"), ORDERS["caffenet"])
    with pytest.raises(InputError, match="net.caffemodel"):
        read(write(tmp_path, data[: int(len(data) * share)]))


@pytest.mark.parametrize("shape", [(1, 1, STORED, STORED), (3, STORED, STORED - 1), (3, 50, 50)])
def test_an_unfit_mean_is_refused(shape, tmp_path):
    file = open_source(write(tmp_path, blob(np.ones(shape, "f4")), "mean"))
    with pytest.raises(InputError, match="mean (is no mean image|has 50 pixels)"):
        read_mean(file, SIZE)


def as_npy(tmp_path, value, name="bvlc_alexnet.npy"):
    np.save(tmp_path / name, value, allow_pickle=True)
    return tmp_path / name


def in_tensorflows_layouts(weights):
    """Returns the layers as caffe-tensorflow writes them: HWIO, and fc6's image in HWC."""
    layers = {}
    for name, (kernel, bias) in weights.items():
        if kernel.ndim == 4:
            kernel = kernel.transpose(2, 3, 1, 0)
        elif name == "fc6":
            image = kernel.reshape(len(bias), WIDTHS["conv5"], 2, 2)
            kernel = image.transpose(2, 3, 1, 0).reshape(-1, len(bias))
        else:
            kernel = kernel.T
        layers[name] = [np.ascontiguousarray(kernel), bias]
    return layers


@pytest.mark.parametrize("form", ["lists", "dictionaries"])
def test_a_numpy_file_gives_the_same_parameters(form, tmp_path, assert_same_params):
    weights = draw("bvlc-alexnet")
    layers: dict = in_tensorflows_layouts(weights)
    if form == "dictionaries":
        layers = {name: {"weights": w, "biases": b} for name, (w, b) in layers.items()}
    found = read(as_npy(tmp_path, layers))
    expected = read(write(tmp_path, net(weights, ORDERS["bvlc-alexnet"])))
    assert found.network == expected.network and found.form == "npy" and "BGR" in found.messages[0]
    assert_same_params(found.params, expected.params)


def test_a_mean_image_may_be_a_numpy_file(tmp_path):
    mean = np.random.default_rng(0).uniform(90, 130, (3, STORED, STORED))
    found = read_mean(open_source(as_npy(tmp_path, mean, "ilsvrc_2012_mean.npy")), SIZE)
    np.testing.assert_array_equal(found, mean[::-1].transpose(1, 2, 0).astype(np.float32))
    with pytest.raises(InputError, match="is no mean image"):
        read_mean(open_source(as_npy(tmp_path, {"a": 1})), SIZE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: np.zeros((3, 4)), r"a NumPy file \(.npy\) with one array of shape \[3, 4\]"),
        (lambda a: [1, 2], "not with layers by name|no dictionary of layers"),
        (lambda a: {"a": [1]}, "not with \\[weights, biases\\] by layer: a layer is not a pair"),
        (lambda a: {"a": [np.array([None]), np.zeros(1)]}, "an array of objects|of type"),
        (lambda a: {k: a[k] for k in ("conv1", "conv2")}, "lacks conv3.*get the complete"),
        (lambda a: a | {"conv1": [a["conv1"][0].T, a["conv1"][1]]}, "conv1.* should be"),
        (lambda a: a | {"fc6": [a["fc6"][0] * np.nan, a["fc6"][1]]}, "fc6 weights.* not finite"),
    ],
)
def test_other_numpy_files_are_named(change, message, tmp_path):
    file = as_npy(tmp_path, change(in_tensorflows_layouts(draw("bvlc-alexnet"))))
    with pytest.raises(InputError, match=message) as caught:
        import_weights(file, "caffe", tmp_path / "run")
    assert "\n" not in str(caught.value) and "bvlc_alexnet.npy" in str(caught.value)


def test_a_numpy_file_runs_nothing_and_costs_nothing_where_it_is_damaged(tmp_path):
    sentinel = tmp_path / "sentinel"

    class Code:
        def __reduce__(self):
            return open, (str(sentinel), "w")

    with pytest.raises(InputError, match="tries to call '.*open'.* was not run"):
        read(as_npy(tmp_path, {"conv1": Code()}))
    assert not sentinel.exists()
    whole = write(tmp_path, as_npy(tmp_path, np.zeros((3, 4))).read_bytes()).read_bytes()
    for data in (whole[:20], whole[:-5], whole.replace(b"(3, 4)", b"(9999999999, 4)")):
        with pytest.raises(InputError, match="not a complete NumPy file"):
            read(write(tmp_path, data, "a.npy"))
