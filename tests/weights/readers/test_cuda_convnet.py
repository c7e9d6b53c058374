"""Checkpoints of cuda-convnet, written as Python 2 did, against their own arithmetic in PyTorch."""

import dataclasses
import io
import zipfile

import numpy as np
import pytest
from cuda_convnet_files import SIZE, STORED, Checkpoint, checkpoint_bytes, meta_bytes
from hostile import memory_below

import alexnet_jax
from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Dropout, with_changes
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.weights import READERS
from alexnet_jax.weights.importing import import_weights

read = READERS["cuda-convnet"].read
pytestmark = pytest.mark.filterwarnings("ignore:THESE WEIGHTS LOOK RANDOM")

WIDTHS = {"conv1": 12, "conv2": 16, "conv3": 12, "conv4": 8, "conv5": 6,
          "fc6": 14, "fc7": 10, "fc8": 5}  # fmt: skip


def run_145(dropout="hs") -> Checkpoint:
    """Returns the narrow net 145, layer by layer as `layers-145.cfg` lists them."""
    c = Checkpoint()
    half = {name: width // 2 for name, width in WIDTHS.items()}
    a = [c.conv(f"conv1{t}", ["data"], 3, half["conv1"], 11, stride=4, image=SIZE, relu=0)
         for t in "ab"]  # fmt: skip
    a = [c.lrn(f"rnorm1{t}", x) for t, x in zip("ab", a, strict=True)]
    a = [c.pool(f"pool1{t}", x, relu=1) for t, x in zip("ab", a, strict=True)]
    a = [c.conv(f"conv2{t}", [x], half["conv1"], half["conv2"], 5, padding=2)
         for t, x in zip("ab", a, strict=True)]  # fmt: skip
    a = [c.lrn(f"rnorm2{t}", x) for t, x in zip("ab", a, strict=True)]
    for t, x in zip("ab", a, strict=True):
        c.add(f"cnorm2{t}", "rnorm", [x], size=5, scale=4e-5, pow=0.75)
    a = [c.pool(f"pool2{t}", f"cnorm2{t}") for t in "ab"]
    a = [c.conv(f"conv3{t}", a, half["conv2"], half["conv3"], 3, padding=1) for t in "ab"]
    for n, below in (("conv4", "conv3"), ("conv5", "conv4")):
        a = [c.conv(f"{n}{t}", [x], half[below], half[n], 3, padding=1, relu=n == "conv4")
             for t, x in zip("ab", a, strict=True)]  # fmt: skip
    a = [c.pool(f"pool3{t}", x, relu=1) for t, x in zip("ab", a, strict=True)]
    a = [c.fc(f"fc2048{t}", a, half["conv5"] * 4, half["fc6"]) for t in "ab"]
    for t, x in zip("ab", a, strict=True):
        c.add(f"hs1{t}", dropout, [x], keep=0.5)
    # The second tower names the other one first.
    a = [c.fc(f"fc2048b{t}", [f"hs1{t}", f"hs1{other}"], half["fc6"], half["fc7"])
         for t, other in ("ab", "ba")]  # fmt: skip
    for t, x in zip("ab", a, strict=True):
        c.add(f"hs2{t}", dropout, [x], keep=0.5)
    out = c.fc("fc1000", ["hs2a", "hs2b"], half["fc7"], WIDTHS["fc8"], relu=0)
    c.add("probs", "softmax", [out])
    c.add("logprob", "cost.logreg", ["labels", "probs"])
    return c


def probabilities(torch, layers, x, keep=0.5):
    """Interprets the layers' dictionaries by cuda-convnet's definitions; `x` is `[n, 3, y, x]`."""
    F = torch.nn.functional

    def weigh(layer, inputs):
        out = torch.tensor(layer["biases"]).reshape(1, -1)
        if layer["type"] == "fc":
            for matrix, acts in zip(layer["weights"], inputs, strict=True):
                out = out + acts.flatten(1) @ torch.tensor(np.array(matrix))
            return out
        out = out.reshape(1, -1, 1, 1)
        stride, padding = layer["stride"][0], -layer["padding"][0]
        for matrix, acts in zip(layer["weights"], inputs, strict=True):
            window = layer["filterSize"][0]
            kernel = torch.tensor(matrix.T.reshape(layer["filters"], -1, window, window))
            if stride > 1:  # the last window may overhang and reads zeros there
                acts = F.pad(acts, (0, 3, 0, 3))
            out = out + F.conv2d(acts, kernel, stride=stride, padding=padding)
        return out

    outputs = {"data": x, "labels": None}
    for name, layer in layers.items():
        if name in outputs or layer["type"].startswith("cost"):
            continue
        inputs = [outputs[i] for i in layer["inputs"]]
        match layer["type"]:
            case "conv" | "fc":
                outputs[name] = weigh(layer, inputs)
            case "neuron":
                outputs[name] = F.relu(inputs[0])
            case "pool":
                outputs[name] = F.max_pool2d(inputs[0], 3, 2, ceil_mode=True)
            case "cmrnorm":
                k = layer.get("minDiv", 1.0)
                outputs[name] = F.local_response_norm(inputs[0], 5, layer["scale"] * 5, 0.75, k)
            case "rnorm":
                mean = F.avg_pool2d(inputs[0] ** 2, 5, 1, 2)
                outputs[name] = inputs[0] / (1 + layer["scale"] * 25 * mean) ** 0.75
            case "hs" | "dropout2":
                outputs[name] = keep * inputs[0]
            case "dropout":
                outputs[name] = inputs[0]
            case "softmax":
                outputs[name] = F.softmax(inputs[0], dim=1)
    return outputs["probs"].numpy()


@pytest.fixture
def narrow(narrow_network):
    """Net 145 with few filters, under its own name."""
    return narrow_network("original", WIDTHS, image_size=SIZE)


def write(folder, data: bytes, name="90.1"):
    path = folder / name
    path.write_bytes(data)
    return path


def _meta(tmp_path):
    mean = np.random.default_rng(8).uniform(90, 140, (STORED, STORED, 3)).astype("f4")
    return mean, write(tmp_path, meta_bytes(mean), "batches.meta")


def read_layers(tmp_path, layers, network=""):
    file = write(tmp_path, checkpoint_bytes(layers))
    return read(file, network, _meta(tmp_path)[1])


@pytest.mark.oracle
@pytest.mark.parametrize("dropout", ["hs", "dropout"])
def test_probabilities_are_those_of_the_towers(dropout, narrow, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch, the oracle, is not installed")
    checkpoint = run_145(dropout)
    folder = tmp_path / "ConvNet__2012-09-06"
    folder.mkdir()
    write(folder, checkpoint_bytes(checkpoint.layers))
    write(folder, b"an older one", "9.1000")
    mean, meta = _meta(tmp_path)
    done = import_weights(folder, "cuda-convnet", tmp_path / "run", mean=meta)
    assert done.network == "original" and not done.fresh
    images = np.random.default_rng(5).integers(0, 256, (2, STORED, STORED, 3), dtype=np.uint8)
    classifier = alexnet_jax.load(tmp_path / "run")
    assert classifier.class_names == tuple("abcde")
    # The centre window of the mean, as 2012 had it.
    x = torch.tensor(images[:, 8 : 8 + SIZE, 8 : 8 + SIZE].astype("f4") - mean[8:-8, 8:-8])
    expected = probabilities(torch, checkpoint.layers, x.permute(0, 3, 1, 2))
    assert expected.std(axis=0).max() > 1e-3
    np.testing.assert_allclose(classifier.probabilities(images), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("dropout", "network", "factor"),
    [("hs", "original", 1), ("hs", "inverted", 0.5), ("dropout", "original", 2),
     ("dropout", "inverted", 1), ("dropout2", "inverted", 0.5)],
)  # fmt: skip
def test_the_convention_of_dropout_is_folded_into_the_weights(
    dropout, network, factor, narrow, monkeypatch, tmp_path
):
    layers = with_changes(narrow.layers, Dropout, inverted=True)
    monkeypatch.setitem(NETWORKS, "inverted", dataclasses.replace(narrow, layers=layers))
    reading = read_layers(tmp_path, run_145(dropout).layers, network)
    plain = read_layers(tmp_path, run_145().layers, "original")
    for layer, leaves in reading.params.items():
        expected = factor if layer in ("fc7", "fc8") else 1
        kernel = plain.params[layer]["kernel"] * np.float32(expected)
        np.testing.assert_array_equal(leaves["kernel"], kernel, layer)
        np.testing.assert_array_equal(leaves["bias"], plain.params[layer]["bias"], layer)
    assert len(reading.notes) == (0 if factor == 1 else 2)


def test_the_network_is_known_by_its_layers(narrow, tmp_path):
    reading = read_layers(tmp_path, run_145().layers)
    assert reading.network.layers == narrow.layers and reading.image_size == SIZE
    for change in ({"minDiv": 1.0}, {"size": 4}):  # an even window is in no network
        checkpoint = run_145()
        for name in ("rnorm1a", "rnorm1b"):
            checkpoint.layers[name].update(change)
        with pytest.raises(InputError, match="no known network has: Conv Lrn MaxPool"):
            read_layers(tmp_path, checkpoint.layers)


def cifar_list(rng) -> list:
    """Returns the layers of a narrow 13 % net as cuda-convnet 1 kept them: a list, by number."""

    def weighted(name, kind, source, channels, filters, window, padding, side, rows):
        modules = side**2 if kind == "local" else 1
        std = (2 / (channels * window**2)) ** 0.5 * (0.02 if name == "conv1" else 1)
        return {
            "name": name, "type": kind, "inputs": [source], "channels": [channels],
            "filters": filters, "filterSize": [window], "padding": [-padding], "stride": [1],
            "imgSize": [side], "modules": side**2, "groups": [1],
            "neuron": {"type": "relu", "params": {}},
            "weights": [(rng.normal(size=(rows, filters)) * std).astype("f4")],
            "biases": rng.normal(0, 0.3, (filters * modules, 1)).astype("f4"),
        }  # fmt: skip

    def pool(name, source):
        return {"name": name, "type": "pool", "inputs": [source], "pool": "max", "sizeX": 3,
                "stride": 2, "start": 0, "neuron": {"type": "ident", "params": {}}}  # fmt: skip

    return [
        {"name": "data", "type": "data", "outputs": 1728},
        weighted("conv1", "conv", 0, 3, 4, 5, 2, 24, 75),
        pool("pool1", 1),
        weighted("conv2", "conv", 2, 4, 6, 5, 2, 12, 100),
        pool("pool2", 3),
        weighted("local3", "local", 4, 6, 3, 3, 1, 6, 36 * 54),
        weighted("local4", "local", 5, 3, 2, 3, 1, 6, 36 * 27),
        {"name": "fc10", "type": "fc", "inputs": [6], "outputs": 4,
         "weights": [np.asfortranarray(rng.normal(0, 0.05, (72, 4)).astype("f4"))],
         "biases": rng.normal(size=(1, 4)).astype("f4")},
        {"name": "probs", "type": "softmax", "inputs": [7]},
    ]  # fmt: skip


@pytest.mark.oracle
def test_unshared_layers_of_the_first_version_in_a_zip(narrow_network, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch, the oracle, is not installed")
    F = torch.nn.functional
    widths = {"conv1": 4, "conv2": 6, "local3": 3, "local4": 2, "fc5": 4}
    narrow_network("cifar-13pct", widths)
    layers = cifar_list(np.random.default_rng(3))
    data = checkpoint_bytes(layers)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", data)
    file = write(tmp_path, packed.getvalue())
    with pytest.raises(InputError, match="needs the mean image"):
        read(file)
    mean = np.random.default_rng(8).uniform(90, 140, (32, 32, 3)).astype("f4")
    meta = write(tmp_path, meta_bytes(mean), "batches.meta")
    import_weights(file, "cuda-convnet", tmp_path / "run", mean=meta)
    images = np.random.default_rng(5).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    classifier = alexnet_jax.load(tmp_path / "run")
    assert (classifier.image_size, classifier.stored_size) == (24, 32)

    w = {layer["name"]: layer for layer in layers}
    x = torch.tensor(images[:, 4:-4, 4:-4].astype("f4") - mean[4:-4, 4:-4]).permute(0, 3, 1, 2)
    for name in ("conv1", "conv2"):
        kernel = torch.tensor(w[name]["weights"][0].T.reshape(w[name]["filters"], -1, 5, 5))
        x = F.conv2d(x, kernel, torch.tensor(w[name]["biases"]).flatten(), padding=2)
        x = F.max_pool2d(F.relu(x), 3, 2, ceil_mode=True)
    for name in ("local3", "local4"):
        columns = F.unfold(x, 3, padding=1)  # [n, channel * y * x, positions]
        bank = torch.tensor(w[name]["weights"][0].reshape(36, columns.shape[1], -1))
        x = torch.einsum("ncp,pcf->nfp", columns, bank)
        x = F.relu(x + torch.tensor(w[name]["biases"]).reshape(1, -1, 36)).reshape(2, -1, 6, 6)
    x = x.flatten(1) @ torch.tensor(np.array(w["fc10"]["weights"][0]))
    expected = F.softmax(x + torch.tensor(w["fc10"]["biases"]), dim=1).numpy()
    assert expected.std(axis=0).max() > 1e-3
    np.testing.assert_allclose(classifier.probabilities(images), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"conv3b": {"weights": [np.ones((54, 6), "f4"), np.ones((53, 6), "f4")]}}, "conv3"),
        ({"conv5b": {"inputs": ["gone"]}}, "do not exist"),
        ({"fc1000": {"biases": np.full((1, 5), np.nan, "f4")}}, "fc8.bias.*not"),
        ({"pool1a": {"inputs": ["conv2a"]}}, "do not exist"),
        ({"conv1a": {"inputs": 5}}, "90.1"),
        ({"conv1a": {"weights": [None]}}, "no arrays"),
        ({"conv2a": {"inputs": ["pool1b_neuron"]}, "conv2b": {"inputs": ["pool1a_neuron"]}},
         "another order"),
        ({"rnorm1a": {"type": "blur"}}, "blur"),
    ],
)  # fmt: skip
def test_wrong_layers_are_refused_in_one_line(damage, message, narrow, tmp_path):
    layers = run_145().layers
    for name, values in damage.items():
        layers[name] |= values
    with pytest.raises(InputError, match=message) as caught:
        read_layers(tmp_path, layers, "original")
    assert "\n" not in str(caught.value)


def test_code_in_a_checkpoint_is_not_run(narrow, tmp_path):
    sentinel = tmp_path / "sentinel"
    data = checkpoint_bytes(run_145().layers)
    code = b"cos\nsystem\n(U" + bytes([len(f"touch {sentinel}")]) + f"touch {sentinel}tR0".encode()
    file = write(tmp_path, data[:2] + code + data[2:])
    with pytest.raises(InputError, match="90.1 tries to call 'os.system'"):
        import_weights(file, "cuda-convnet", tmp_path / "run")
    assert not sentinel.exists() and not (tmp_path / "run").exists()


def test_a_zip_that_would_unpack_to_far_more_is_refused(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", bytes(50_000_000))
    path = write(tmp_path, file.getvalue())
    with memory_below(1_000_000), pytest.raises(InputError, match="unpack to 50,000,000 bytes"):
        read(path)


def test_a_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no checkpoint"):
        import_weights(tmp_path, "cuda-convnet", tmp_path / "run")
