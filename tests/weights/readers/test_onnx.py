"""ONNX models in several spellings become the network that computes the same, or are refused."""

import hashlib

import numpy as np
import onnx_files
import pytest
from hostile import field, memory_below, varint
from sequences import narrow_sequence

import alexnet_jax
from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Dense, Flatten, Lrn
from alexnet_jax.weights import READERS
from alexnet_jax.weights.importing import import_weights
from alexnet_jax.weights.readers.file_kinds import find_source
from alexnet_jax.weights.readers.layer_sequence import FileLayer

read = READERS["onnx"].read
pytestmark = pytest.mark.filterwarnings("ignore:THESE WEIGHTS LOOK RANDOM")
SPELLINGS = {
    "TorchScript's": {},
    "of free shapes": {"reshape": True, "unit_pool": False},
    "of 2018": {"as_inputs": True, "form": "typed", "transposed": False, "reshape": True},
}


@pytest.fixture
def torch_like(narrow_network):
    """The size, layers and parameters of torchvision's network; 224: six by six pixels."""
    return narrow_sequence(narrow_network, "one-weird-trick", size=224)


@pytest.fixture
def caffe_like(narrow_network):
    return narrow_sequence(narrow_network, "bvlc-alexnet-224")


def write(tmp_path, data, name="net.onnx"):
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_model_of_pytorch_is_torchvisions(spelling, torch_like, tmp_path, assert_same_params):
    size, layers, params = torch_like
    file = write(tmp_path, onnx_files.write_model(layers, size, **SPELLINGS[spelling]))
    assert find_source(file) == "onnx"
    found = read(file)
    assert (found.network.name, found.image_size, found.stored_size) == (
        "one-weird-trick",
        size,
        256,
    )
    assert (found.preprocess.mean, found.preprocess.scale) == ("imagenet", "imagenet")
    assert "does not say how images are prepared: taken as PyTorch's" in found.messages[0]
    assert_same_params(found.params, params)


def test_a_model_of_the_zoo_is_caffes_with_its_mean(caffe_like, tmp_path, assert_same_params):
    size, layers, params = caffe_like
    layers = [*layers, FileLayer("prob", "Softmax")]
    data = onnx_files.write_model(layers, size, producer="onnx-caffe2", as_inputs=True)
    file = write(tmp_path, data)
    found = read(file)
    assert found.network.name == "bvlc-alexnet-224" and found.preprocess.mean == "channel"
    np.testing.assert_allclose(found.inputs.mean, [122.679, 116.669, 104.007], rtol=1e-6)
    params["conv1"]["kernel"] = params["conv1"]["kernel"][:, :, ::-1].copy()
    assert_same_params(found.params, params)
    bgr = np.arange(3 * 120 * 120, dtype="f4").reshape(3, 120, 120)
    np.save(tmp_path / "mean.npy", bgr)
    found = read(file, "", tmp_path / "mean.npy")
    assert found.preprocess.mean == "image-aligned" and found.stored_size == 120
    np.testing.assert_array_equal(found.inputs.mean[..., 0], bgr[2])


def test_a_mean_belongs_to_caffes_networks_only(torch_like, tmp_path):
    np.save(tmp_path / "mean.npy", np.ones((3, 256, 256), "f4"))
    file = write(tmp_path, onnx_files.write_model(torch_like[1], torch_like[0]))
    with pytest.raises(InputError, match="no mean image; leave out --mean"):
        read(file, "", tmp_path / "mean.npy")


def test_the_runs_logits_are_those_of_onnxruntime(caffe_like, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    size, layers, _ = caffe_like
    file = write(tmp_path, onnx_files.write_model(layers, size, producer="onnx-caffe2"))
    import_weights(file, workdir=tmp_path / "run")
    classifier = alexnet_jax.load(tmp_path / "run")
    images = np.random.default_rng(5).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    start = (256 - size) // 2
    window = images[:, start : start + size, start : start + size, ::-1].astype("f4")
    bgr = (window - np.array([104.007, 116.669, 122.679], "f4")).transpose(0, 3, 1, 2)
    session = runtime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(["out"], {"in": bgr})
    assert expected.std(axis=0).max() > 1e-3
    logits = np.asarray(classifier.apply(classifier.preprocess(images)))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_arrays_may_lie_beside_the_model(torch_like, tmp_path, assert_same_params):
    size, layers, params = torch_like
    nodes, arrays = onnx_files.nodes_of(layers)
    data, messages = b"", []
    for name, values in arrays.items():
        place = ("net.onnx.data", len(data))
        messages.append(onnx_files.array(name, values, external=place))
        data += np.ascontiguousarray(values).tobytes()
    images = [onnx_files.value("in", (1, 3, size, size))]
    file = write(tmp_path, onnx_files.model(nodes, messages, images))
    with pytest.raises(InputError, match="net.onnx.data does not exist"):
        read(file)
    beside = write(tmp_path, data, "net.onnx.data")
    found = read(file)
    assert_same_params(found.params, params)
    digest = hashlib.sha256(data).hexdigest()
    assert found.notes[-1] == f"arrays in net.onnx.data, SHA-256 {digest}"
    beside.write_bytes(data[:-1])
    with pytest.raises(InputError, match="fc8.b' of shape .5. has 19 bytes"):
        read(file)
    for place in ("../net.onnx.data", str(beside), "..", ""):
        changed = [onnx_files.array(n, v, external=(place, 0)) for n, v in arrays.items()]
        write(tmp_path, onnx_files.model(nodes, changed, images))
        with pytest.raises(InputError, match="which is no file beside the model"):
            read(file)


def test_weights_may_be_made_by_constant_operations(torch_like, tmp_path, assert_same_params):
    """A dense layer as a product with a transposed constant, and a sum."""
    size, layers, params = torch_like
    nodes, arrays = onnx_files.nodes_of(layers[:-1])
    item = layers[-1]
    nodes[-1] = onnx_files.node("Relu", ["fc7"], "relu7")
    nodes = [
        *nodes,
        onnx_files.node("Constant", [], "c", value=onnx_files.array("", item.weights.T)),
        onnx_files.node("Identity", ["c"], "i"),
        onnx_files.node("Transpose", ["i"], "w", perm=[1, 0]),
        onnx_files.node("MatMul", ["relu7", "w"], "product"),
        onnx_files.node("Add", ["b", "product"], "sum"),
        onnx_files.node("Cast", ["sum"], "out", to=1),
    ]
    messages = [onnx_files.array(name, v) for name, v in (arrays | {"b": item.bias}).items()]
    data = onnx_files.model(nodes, messages, [onnx_files.value("in", (1, 3, size, size))])
    assert_same_params(read(write(tmp_path, data)).params, params)


def test_channels_may_come_last_where_transpositions_say_so(torch_like, narrow_network, tmp_path):
    size, layers, params = narrow_sequence(
        narrow_network, "one-weird-trick", size=224, flattened="hwc"
    )
    flat = next(i for i, item in enumerate(layers) if isinstance(item.layer, Flatten))
    nodes, arrays = onnx_files.nodes_of(layers)
    before = layers[flat - 1].name
    nodes[flat] = onnx_files.node("Flatten", ["last"], layers[flat].name)
    nodes.insert(flat, onnx_files.node("Transpose", [before], "last", perm=[0, 2, 3, 1]))
    nodes = [onnx_files.node("Transpose", ["nhwc"], "in", perm=[0, 3, 1, 2]), *nodes]
    messages = [onnx_files.array(name, values) for name, values in arrays.items()]
    images = [onnx_files.value("nhwc", (0, size, size, 3))]
    found = read(write(tmp_path, onnx_files.model(nodes, messages, images)))
    np.testing.assert_array_equal(found.params["fc6"]["kernel"], params["fc6"]["kernel"])
    with pytest.raises(InputError, match="of channels that come last. is no part"):
        read(write(tmp_path, onnx_files.model(nodes[1:], messages, [
            onnx_files.value("in", (0, size, size, 3))])))  # fmt: skip


CHANGES = {
    "another kind": ("relu1", "BatchNormalization", r"'n_relu1' \(BatchNormalization\) is no part"),
    "a quantized one": ("conv2", "QLinearConv", "'n_conv2' .QLinearConv. is no part"),
    "a factor": ("dropout6", "Mul", "'n_dropout6' .Mul. is no part"),
    "an even window": ("norm1", Lrn(4, 2e-5, bias=1.0), "LRN over 4 channels, no odd number"),
    "another k": ("norm1", Lrn(5, 2e-5, bias=2.0), "has k 2, but norm1 has 1"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_no_alexnet_is_refused_by_name(change, caffe_like, tmp_path):
    size, layers, _ = caffe_like
    name, layer, message = CHANGES[change]
    blank = {"weights": None} if isinstance(layer, str) else {}
    layers = [i._replace(layer=layer, **blank) if i.name == name else i for i in layers]
    file = write(tmp_path, onnx_files.write_model(layers, size))
    with pytest.raises(InputError, match=message) as caught:
        import_weights(file, workdir=tmp_path / "run")
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def convolution(**changes) -> bytes:
    return onnx_files.node("Conv", ["in", "conv1.w", "conv1.b"], "conv1", **changes)


NODES = {
    "gaps": (convolution(strides=[4, 4], dilations=[2, 2]), "or with gaps"),
    "automatic padding": (convolution(auto_pad="SAME_UPPER"), "Conv with automatic padding"),
    "uneven strides": (convolution(strides=[4, 2]), r"Conv with stride \[4, 2\]"),
    "padding across": (convolution(strides=[4, 4], pads=[0, 1, 0, 1]), "other padding across"),
    "a stride of another kind": (convolution(strides="four"), "whose strides is another kind"),
    "groups": (convolution(strides=[4, 4], group=3), "has groups 3, but conv1 has 1"),
    "no weights": (onnx_files.node("Conv", ["in", "x"], "conv1"), "whose weights are no constants"),
    "a domain": (field(1, "in") + field(2, "conv1") + field(4, "Conv") + field(7, "com.x"),
                 r"\(com.x.Conv\) is no part"),
}  # fmt: skip


@pytest.mark.parametrize("what", NODES)
def test_settings_that_no_layer_has_are_refused_by_name(what, caffe_like, tmp_path):
    size, layers, _ = caffe_like
    nodes, arrays = onnx_files.nodes_of(layers)
    nodes[0], message = NODES[what]
    messages = [onnx_files.array(name, values) for name, values in arrays.items()]
    data = onnx_files.model(nodes, messages, [onnx_files.value("in", (1, 3, size, size))])
    with pytest.raises(InputError, match=message) as caught:
        read(write(tmp_path, data))
    assert "\n" not in str(caught.value)


def test_a_model_that_branches_or_takes_no_image_is_refused(caffe_like, tmp_path):
    size, layers, _ = caffe_like
    nodes, arrays = onnx_files.nodes_of(layers)
    messages = [onnx_files.array(name, values) for name, values in arrays.items()]
    branch = onnx_files.node("Relu", ["conv1"], "other")
    images = [onnx_files.value("in", (1, 3, size, size))]
    with pytest.raises(InputError, match="2 layers read what 'conv1' is: 'n_relu1' .Relu., 'n_ot"):
        read(write(tmp_path, onnx_files.model([*nodes, branch], messages, images)))
    for shape in ((1, 3, size, size + 1), (1, 1, size, size), (1, 10), ()):
        data = onnx_files.model(nodes, messages, [onnx_files.value("in", shape)])
        with pytest.raises(InputError, match="not images"):
            read(write(tmp_path, data))
    circle = [onnx_files.node("Identity", [a], b) for a, b in (("in", "x"), ("x", "in"))]
    with pytest.raises(InputError, match="goes in a circle"):
        read(write(tmp_path, onnx_files.model(circle, [], images)))


def test_float16_becomes_float32_and_other_types_are_named(torch_like, tmp_path):
    size, layers, params = torch_like
    halves = [
        item._replace(weights=item.weights.astype("f2"), bias=item.bias.astype("f2"))
        if item.weights is not None
        else item
        for item in layers
    ]
    found = read(write(tmp_path, onnx_files.write_model(halves, size)))
    kernel = found.params["fc7"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, params["fc7"]["kernel"].astype("f2"))
    whole = onnx_files.write_model(layers, size)
    data = whole.replace(field(2, 1) + field(8, "fc7.w"), field(2, 3) + field(8, "fc7.w"))
    with pytest.raises(InputError, match="'fc7.w' is of ONNX's type 3.*without quantization"):
        read(write(tmp_path, data))


def test_a_model_cut_anywhere_is_refused(caffe_like, tmp_path):
    data = onnx_files.write_model(caffe_like[1], caffe_like[0])
    for share in (0.01, 0.1, 0.5, 0.9, 0.999):
        with pytest.raises(InputError, match="net.onnx") as caught:
            read(write(tmp_path, data[: int(len(data) * share)]))
        assert "\n" not in str(caught.value)


def _model(graph) -> bytes:
    return field(1, 8) + field(2, "pytorch") + field(7, graph)


BOMBS = {
    "many empty nodes": _model(field(1, b"") * 300_000),
    "many empty arrays": _model(field(5, b"") * 300_000),
    "many dimensions": _model(field(5, field(1, b"\1" * 500_000))),
    "a huge shape": _model(field(5, field(1, b"\xff" * 8 + b"\x7f") + field(2, 1) + field(8, "w"))),
    "many values": _model(field(1, field(5, field(8, b"\1" * 500_000)))),
    "a long name": _model(field(1, field(4, b"x" * 500_000))),
    "huge length": field(1, 8) + varint(7 << 3 | 2) + varint(2**40) + b"abc",
    "groups within groups": field(1, 8) + field(2, "pytorch") + b"\x0b" * 300_000,
    "nothing": field(1, 8) + field(2, "pytorch") + field(7, b""),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_damaged_messages_are_refused_in_little_memory(bomb, tmp_path):
    file = write(tmp_path, BOMBS[bomb])
    with memory_below(4 * len(BOMBS[bomb]) + 2_000_000):
        with pytest.raises(InputError, match="net.onnx") as caught:
            import_weights(file, workdir=tmp_path / "run")
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_convolutions_alone_are_enough(torch_like, tmp_path):
    size, layers, params = torch_like
    dense = next(i for i, item in enumerate(layers) if isinstance(item.layer, Dense))
    flat = next(i for i, item in enumerate(layers[:dense]) if isinstance(item.layer, Flatten))
    found = read(write(tmp_path, onnx_files.write_model(layers[: flat - 1], size)))
    assert list(found.params) == [name for name in params if name.startswith("conv")]
