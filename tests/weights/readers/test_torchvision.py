"""torchvision's files: both containers and safetensors, against PyTorch where it is installed."""

import json
import struct

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

import alexnet_jax
from alexnet_jax.errors import InputError
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.weights.importing import import_weights
from alexnet_jax.weights.readers.safetensors import read_safetensors
from alexnet_jax.weights.readers.source_file import open_source
from alexnet_jax.weights.readers.torch_file import read_torch
from alexnet_jax.weights.readers.torchvision import from_torchvision, layer_keys
from alexnet_jax.weights.readers.torchvision_search import find_arrays

pytestmark = pytest.mark.filterwarnings("ignore:THESE WEIGHTS LOOK RANDOM")

FULL = {
    "features.0": (64, 3, 11, 11),
    "features.3": (192, 64, 5, 5),
    "features.6": (384, 192, 3, 3),
    "features.8": (256, 384, 3, 3),
    "features.10": (256, 256, 3, 3),
    "classifier.1": (4096, 9216),
    "classifier.4": (4096, 4096),
    "classifier.6": (1000, 4096),
}


def test_the_keys_are_torchvisions():
    network = NETWORKS["one-weird-trick"]
    assert {key.prefix: key.weight_shape for key in layer_keys(network)} == FULL


def test_fc6_sees_the_image_in_the_order_of_torch(narrow, arrays):
    kernel = from_torchvision(arrays, narrow)["fc6"]["kernel"]
    row, column, channel = 2, 5, 3
    np.testing.assert_array_equal(
        kernel[(row * 6 + column) * 5 + channel],
        arrays["classifier.1.weight"][:, channel * 36 + row * 6 + column],
    )


def layout_of(arrays, network, what="a.pth"):
    """Returns the layout of arrays under flat names."""
    shapes = {key.prefix: key.weight_shape for key in layer_keys(network)}
    return find_arrays({tuple(name.split(".")): a for name, a in arrays.items()}, shapes, what)


def found_in(arrays, network):
    """Returns the arrays that are taken, by torchvision's keys."""
    return {key: arrays[".".join(path)] for key, path in layout_of(arrays, network).paths.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        "module.{}", "_orig_mod.{}", "module._orig_mod.{}", "_orig_mod.module.{}", "model.{}",
        "_orig_mod.model.module.{}", "_fsdp_wrapped_module.net._checkpoint_wrapped_module.{}",
        "_forward_module.{}", "_module.{}", "state_dict.model.backbone.{}",
    ],
)  # fmt: skip
def test_whatever_wrappers_add_to_the_keys_is_taken_off(wrap, arrays, narrow):
    for inside in ("features.", "features.module.", "features._orig_mod.module."):
        names = {name: wrap.format(name.replace("features.", inside)) for name in arrays}
        wrapped = {key: arrays[name] for name, key in names.items()}
        found = found_in(wrapped | {"n_averaged": np.zeros(())}, narrow)
        assert found.keys() == arrays.keys() and all(found[name] is arrays[name] for name in found)
    trunk = {name: arrays[name] for name in arrays if name.startswith("features.")}
    wrapped = {wrap.format(name): array for name, array in trunk.items()}
    assert found_in(wrapped, narrow).keys() == trunk.keys()


def test_two_keys_that_become_one_are_refused_unless_they_are_one_array(arrays, narrow):
    name = "features.0.bias"
    with pytest.raises(InputError, match="a.pth holds 'features.0.bias' twice"):
        layout_of(arrays | {f"module.{name}": arrays[name].copy()}, narrow)
    assert found_in(arrays | {f"module.{name}": arrays[name]}, narrow).keys() == arrays.keys()
    other = {name.replace("features", "encoder") + "s": array for name, array in arrays.items()}
    with pytest.raises(InputError, match="a.pth holds no network under .* 'encoder.0.wei"):
        layout_of(other, narrow)


def test_arrays_that_belong_to_no_layer_are_named_and_left_out(arrays, narrow):
    more = {f"model.{name}": array for name, array in arrays.items()}
    names = ("criterion.weight", "model.fc.weight", "x.num")
    found = layout_of(more | dict.fromkeys(names, np.ones((2, 2))), narrow)
    assert found.paths.keys() == arrays.keys()
    assert found.messages == (
        "left out, as they belong to no layer: 'criterion.weight', 'model.fc.weight', 'x.num'",
    )
    for name in ("model.classifier.2.weight", "model.features.1.num_batches_tracked"):
        with pytest.raises(InputError, match=f"'{name}' is no array of torchvision's AlexNet"):
            layout_of(more | {name: np.ones(1)}, narrow)


@pytest.mark.parametrize("name", ["classifier.7", "classifier.fc"])
def test_a_layer_behind_the_last_is_told(name, arrays, narrow):
    more = {f"{name}.weight": np.ones((2, 5)), f"{name}.bias": np.ones(2)}
    told = layout_of(arrays | more, narrow).messages
    assert told[0].startswith(f"'{name}' is no layer") and "of 'classifier.6'" in told[0]


@pytest.mark.parametrize("place", ["0", "1", "1.2"])
def test_a_head_in_a_sequence_is_the_last_layer_if_it_is_one_layer(place, arrays, narrow):
    renamed = {n.replace("classifier.6", f"classifier.6.{place}"): a for n, a in arrays.items()}
    found = layout_of(renamed, narrow)
    assert found.paths["classifier.6.weight"] == ("classifier", "6", *place.split("."), "weight")
    assert f"was taken from 'classifier.6.{place}'" in found.messages[0]
    two = renamed | {"classifier.6.9.weight": np.ones((2, 3)), "classifier.6.9.bias": np.ones(2)}
    found = layout_of(two, narrow)
    assert "classifier.4.weight" in found.paths and "classifier.6.weight" not in found.paths
    assert "left out, as they belong to no layer: 'classifier.6." in found.messages[0]


def test_of_an_average_beside_the_network_the_network_is_taken(arrays, narrow):
    other = {name: array + 1 for name, array in arrays.items()}
    pairs = {"model": "model_ema", "state_dict": "state_dict_ema", "net": "ema.shadow",
             "weights": "averaged_model", "x": "swa"}  # fmt: skip
    for plain, average in pairs.items():
        both = {f"{average}.{n}": a for n, a in other.items()}
        both |= {f"{plain}.{n}": a for n, a in arrays.items()}
        found = layout_of(both, narrow)
        assert found.paths["features.0.weight"] == (plain, "features", "0", "weight")
        assert f"weights are those of '{plain}'; left out: '{average}'" in found.messages[0]
    alone = layout_of({f"model_ema.{n}": a for n, a in arrays.items()}, narrow)
    assert alone.messages == ("'model_ema' is an average of a training's weights",)


def test_two_networks_of_one_rank_are_refused_by_name(arrays, narrow):
    both = {f"model.student.{n}": a for n, a in arrays.items()}
    both |= {f"model.teacher.{n}": a + 1 for n, a in arrays.items()}
    with pytest.raises(InputError, match="several networks: 'model.student', 'model.teacher'"):
        layout_of(both, narrow)
    same = {f"{b}.{n}": a for n, a in arrays.items() for b in ("student", "teacher")}
    assert layout_of(same, narrow).messages == ()  # two names of the same arrays


def test_a_crowd_of_networks_is_refused_at_once(narrow):
    crowd = {f"{i}.features.0.bias": np.zeros(4) for i in range(101)}
    with pytest.raises(InputError, match="holds 101 networks"):
        layout_of(crowd, narrow)


def test_the_convolutions_of_lpips_lie_in_slices(arrays, narrow):
    slices = {"0": 1, "3": 2, "6": 3, "8": 4, "10": 5}
    lpips: dict = {"scaling_layer.shift": np.ones((1, 3, 1, 1), "f4")}
    for name, array in arrays.items():
        kind, number, leaf = name.split(".")
        if kind == "features":
            lpips[f"net.slice{slices[number]}.{number}.{leaf}"] = array
    lpips |= {f"lin{i}.model.1.weight": np.ones((1, 4, 1, 1), "f4") for i in range(5)}
    found = layout_of(lpips, narrow)
    assert found.paths["features.3.weight"] == ("net", "slice2", "3", "weight")
    assert len(found.paths) == 10
    assert "left out" in found.messages[-1]


def test_the_convolutions_of_fastai_are_known_by_their_shapes(arrays, narrow):
    trunk = {n: a for n, a in arrays.items() if n.startswith("features.")}
    fastai = {n.replace("features.", "model.0.0."): a for n, a in trunk.items()}
    head = {"model.1.2.weight": np.ones(10), "model.1.4.weight": np.ones((5, 10))}
    found = layout_of(fastai | head, narrow)
    assert found.paths.keys() == trunk.keys()
    assert found.paths["features.3.bias"] == ("model", "0", "0", "3", "bias")
    assert "the convolutions are those of 'model.0.0', known by their shapes" in found.messages
    with pytest.raises(InputError, match="'model.0.0.1.weight' is no array"):
        layout_of(fastai | {"model.0.0.1.weight": np.ones(4)}, narrow)
    wrong = fastai | {"model.0.0.6.weight": np.ones((8, 6, 5, 5))}
    with pytest.raises(InputError, match="holds no network"):
        layout_of(wrong, narrow)


def without(arrays, *names):
    return {name: array for name, array in arrays.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: without(a, "features.0.bias"), "'features.0.bias' is missing"),
        (lambda a: without(a, "features.6.bias", "features.6.weight"), "lacks conv3"),
        (lambda a: without(a, "classifier.1.bias", "classifier.1.weight"), "lacks fc6"),
        (lambda a: a | {"features.1.weight": np.zeros(3, "f4")}, "'features.1.weight' is no array"),
        (lambda a: a | {"features.3.weight": np.zeros((6, 4, 3, 3), "f4")}, r"\[6, 4, 5, 5\]"),
        (lambda a: a | {"features.0.bias": np.full(4, np.nan, "f4")}, "not finite"),
        (lambda a: a | {"classifier.4.bias": np.zeros(9, "i4")}, "floating-point"),
    ],
)
def test_wrong_contents_are_refused_before_anything_is_written(change, message, arrays, tmp_path):
    save_file(change(arrays), tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=message) as caught:
        import_weights(tmp_path / "a.safetensors", "torchvision", tmp_path / "run")
    assert "a.safetensors" in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.oracle
@pytest.mark.parametrize("container", ["zip", "legacy", "safetensors"])
def test_logits_are_pytorchs(container, narrow, arrays, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch, the oracle, is not installed")
    F = torch.nn.functional
    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    file = tmp_path / "weights"
    if container == "safetensors":
        save_file(arrays, file)
    else:
        torch.save(tensors, file, _use_new_zipfile_serialization=container == "zip")
    import_weights(file, "torchvision", tmp_path / "run")
    images = np.random.default_rng(2).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    classifier = alexnet_jax.load(tmp_path / "run")
    ours = classifier.probabilities(images)
    pixels = images[:, 16:240, 16:240].astype("f4")
    applied = classifier.apply((pixels - classifier.mean) / classifier.scale)
    np.testing.assert_allclose(jax.nn.softmax(applied), ours, rtol=1e-4, atol=1e-6)

    x = torch.tensor(images[:, 16:240, 16:240]).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    x = (x - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    t = [
        (tensors[f"{key.prefix}.weight"], tensors[f"{key.prefix}.bias"])
        for key in layer_keys(narrow)
    ]
    x = F.max_pool2d(F.relu(F.conv2d(x, *t[0], stride=4, padding=2)), 3, 2)
    x = F.max_pool2d(F.relu(F.conv2d(x, *t[1], padding=2)), 3, 2)
    x = F.relu(F.conv2d(F.relu(F.conv2d(x, *t[2], padding=1)), *t[3], padding=1))
    x = F.max_pool2d(F.relu(F.conv2d(x, *t[4], padding=1)), 3, 2)
    x = F.adaptive_avg_pool2d(x, 6).flatten(1)
    x = F.linear(F.relu(F.linear(F.relu(F.linear(x, *t[5])), *t[6])), *t[7])
    expected = F.softmax(x, dim=1).numpy()
    assert expected.std(axis=0).max() > 1e-4  # the images differ
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_precisions_become_float32(dtype, narrow, arrays, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch, which writes them, is not installed")
    tensors = {n: torch.tensor(a).to(getattr(torch, dtype)) for n, a in arrays.items()}
    torch.save(tensors, tmp_path / "a.pth")
    found = from_torchvision(read_torch(open_source(tmp_path / "a.pth")), narrow)
    expected = tensors["features.0.weight"].float().numpy().transpose(2, 3, 1, 0)
    assert found["conv1"]["kernel"].dtype == np.float32
    np.testing.assert_array_equal(found["conv1"]["kernel"], expected)


@pytest.mark.parametrize(("kind", "size"), [("BF16", 2), ("F8_E4M3", 1)])
def test_small_numbers_of_safetensors_are_read_or_named(kind, size, tmp_path):
    header = {"a": {"dtype": kind, "shape": [2], "data_offsets": [0, 2 * size]}}
    text = json.dumps(header).encode()
    file = tmp_path / "a.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text + (b"\x80\x3f\x00\x40")[: 2 * size])
    if kind == "BF16":
        array = read_safetensors(file)[0]["a"]
        assert array.dtype == np.float32 and array.tolist() == [1, 2]
    else:
        with pytest.raises(InputError, match=f"'a' has numbers of type {kind}"):
            read_safetensors(file)
