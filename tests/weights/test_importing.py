"""What an import makes: an ordinary run folder, with a record, and warnings where they are due."""

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import alexnet_jax
from alexnet_jax.config import Config, DataConfig, TransferConfig
from alexnet_jax.display import Display
from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import parametric_layers
from alexnet_jax.network.model import init_params
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.preparation.prepare import prepare
from alexnet_jax.resolution import check_layers_fit
from alexnet_jax.runs.run_folder import read_run
from alexnet_jax.runs.run_weights import load_weights
from alexnet_jax.runs.state import TrainState
from alexnet_jax.training.transfer import transfer_layers
from alexnet_jax.weights.exporting import export
from alexnet_jax.weights.importing import import_weights
from alexnet_jax.weights.readers.array_checks import check_trained, moments, neighbour_correlation
from alexnet_jax.weights.readers.labels import default_names
from alexnet_jax.weights.readers.safetensors import read_safetensors
from alexnet_jax.weights.readers.torchvision import to_torchvision
from alexnet_jax.workflow import evaluate_run, write_run_report

WIDTHS = {"conv1": 16, "conv2": 12, "conv3": 16, "conv4": 16, "conv5": 8,
          "fc6": 40, "fc7": 40, "fc8": 3}  # fmt: skip
CONVOLUTIONS = ["conv1", "conv2", "conv3", "conv4", "conv5"]


@pytest.fixture
def narrow(narrow_network):
    return narrow_network("one-weird-trick", WIDTHS, image_size=63)


def as_if_trained(network):
    """Returns parameters with what training leaves behind: smooth filters and heavy tails."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: init_params(network, network.image_size, 0))

    def draw(leaf):
        values = rng.standard_t(4, leaf.shape) * np.prod(leaf.shape[:-1]) ** -0.5
        if leaf.ndim == 4:
            for axis in (0, 1):
                values = values + np.roll(values, 1, axis)
        return values.astype(np.float32)

    return jax.tree.map(draw, shapes)


@pytest.fixture
def trained_file(narrow, tmp_path):
    save_file(to_torchvision(as_if_trained(narrow), narrow), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_the_record_says_what_was_imported_and_checked(
    trained_file, narrow, tmp_path, assert_same_params
):
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\nbär\n", "utf-8")
    done = import_weights(trained_file, "torchvision", tmp_path / "run", labels=labels)
    assert done.imported == tuple(WIDTHS) and not done.fresh and not done.warnings
    assert "16 of 16 checks passed" in done.summary()
    run = read_run(tmp_path / "run")
    assert run.class_names == ("cat", "dog", "bär") and run.stored_size == 256
    assert (run.config.preprocess.mean, run.config.preprocess.scale) == ("imagenet", "imagenet")
    record = run.info["import"]
    assert record["sha256"] == hashlib.sha256(trained_file.read_bytes()).hexdigest()
    assert record["file"] == "weights.safetensors" and record["labels"] == "labels.txt"
    assert record["layers"] == {"imported": list(WIDTHS), "fresh": []}
    assert all(check["passed"] for check in record["checks"]) and run.info["status"] == "imported"
    assert str(tmp_path) not in json.dumps(record)
    weights = load_weights(tmp_path / "run")
    assert weights.step == 0
    assert_same_params(weights.params, as_if_trained(narrow))


def test_without_a_source_the_record_says_which_was_found(trained_file, tmp_path):
    done = import_weights(trained_file, workdir=tmp_path / "run")
    record = read_run(tmp_path / "run").info["import"]
    line = "read as --source torchvision, by what is in the file"
    assert record["source"] == "torchvision" and record["notes"][0] == line
    assert line in done.summary()
    with pytest.raises(InputError, match="name one with workdir"):
        import_weights(trained_file)
    with pytest.raises(InputError, match="not written by `export`"):  # the named source wins
        import_weights(trained_file, "safetensors", tmp_path / "again")


@pytest.mark.slow
def test_a_trunk_gives_features_and_layers_to_copy_but_warns(narrow, tmp_path, few_optimizations):
    arrays = to_torchvision(as_if_trained(narrow), narrow)
    trunk = {name: array for name, array in arrays.items() if name.startswith("features.")}
    save_file(trunk, tmp_path / "trunk.safetensors")
    labels = tmp_path / "labels.json"
    labels.write_text('["a", "b", "c", "d", "e"]')
    with pytest.warns(UserWarning, match="fc6, fc7, fc8 HAVE FRESH RANDOM VALUES.*mean nothing"):
        import_weights(
            tmp_path / "trunk.safetensors", "torchvision", tmp_path / "run", labels=labels
        )
    run = read_run(tmp_path / "run")
    record = run.info["import"]
    assert record["layers"] == {"imported": CONVOLUTIONS, "fresh": ["fc6", "fc7", "fc8"]}
    assert record["class_order"] == "names" and run.config.data.name != "imagenet2012"
    with pytest.warns(UserWarning, match="without fc6, fc7, fc8.*predictions mean nothing"):
        classifier = alexnet_jax.load(tmp_path / "run")
    images = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    assert classifier.features(images, "conv5").shape == (2, 3, 3, 8)
    assert classifier.features(images, "pool5").std() > 0
    assert classifier.probabilities(images).shape == (2, 5)
    transfer = TransferConfig(str(tmp_path / "run"), layers=tuple(CONVOLUTIONS))
    check_layers_fit(transfer, *(init_params(narrow.with_classes(n), 63, 0) for n in (2, 5)))


def test_random_weights_in_the_right_shapes_are_told(narrow, tmp_path):
    rng = np.random.default_rng(1)
    changes = {
        "initial": lambda a: rng.uniform(-0.1, 0.1, a.shape).astype(np.float32),
        "shuffled": lambda a: rng.permutation(a.ravel()).reshape(a.shape),
    }
    for name, change in changes.items():
        params = jax.tree.map(change, as_if_trained(narrow))
        save_file(to_torchvision(params, narrow), tmp_path / f"{name}.safetensors")
        with pytest.warns(UserWarning, match="LOOK RANDOM, not trained: corr.* conv1 -?0.0"):
            done = import_weights(tmp_path / f"{name}.safetensors", "torchvision", tmp_path / name)
        failed = {check.layer for check in done.checks if not check.passed}
        assert failed >= set(CONVOLUTIONS) - {"conv5"}
        if name == "initial":
            assert "fc7" in failed
        assert read_run(tmp_path / name).info["import"]["warnings"] == list(done.warnings)


@pytest.mark.parametrize("name", ["paper", "caffenet", "one-weird-trick"])
def test_every_initial_layer_of_the_full_size_is_called_random(name):
    network = NETWORKS[name]
    rng = np.random.default_rng(0)
    for layer in parametric_layers(network.layers):
        if layer.name in ("fc6", "fc7"):
            continue  # large, and of the same kind as fc8
        window = getattr(layer, "window", 0)
        shape = (window, window, 48, 192) if window else (4096, 1000)
        std = layer.weight_std
        kernel = rng.normal(0, std, shape) if std else rng.uniform(-0.02, 0.02, shape)
        params = {layer.name: {"kernel": kernel, "bias": np.zeros(shape[-1])}}
        assert not all(check.passed for check in check_trained(params, network, [layer.name]))


def test_the_statistics_of_published_filters():
    path = Path(__file__).parents[3] / "shared/data/alexnet_reference/conv1_filters.npz"
    if not path.exists():
        pytest.skip("shared/data/alexnet_reference is not there")
    filters = np.load(path)
    for name, smooth, tails in (("torchvision", 0.529, 4.76), ("bvlc", 0.598, 3.94)):
        kernel = filters[f"{name}_kernel"]
        assert neighbour_correlation(kernel) == pytest.approx(smooth, abs=1e-3)
        assert moments(kernel)[1] == pytest.approx(tails, abs=0.01)
        turned = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)).reshape(kernel.shape)
        assert abs(neighbour_correlation(turned)) < 0.1  # wrongly arranged


def test_our_own_export_comes_back_bit_for_bit(trained_file, tmp_path, assert_same_params):
    import_weights(trained_file, "torchvision", tmp_path / "run")
    weights = load_weights(tmp_path / "run")
    export(weights, tmp_path / "own.safetensors", "safetensors")
    done = import_weights(tmp_path / "own.safetensors", "safetensors", tmp_path / "again")
    assert done.network == "one-weird-trick" and not done.warnings
    again = load_weights(tmp_path / "again")
    assert again.run.class_names == weights.run.class_names
    assert again.run.config.preprocess == weights.run.config.preprocess
    assert (again.run.image_size, again.run.stored_size) == (63, 256)
    for mine, theirs in zip(again.run.inputs, weights.run.inputs, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert_same_params(again.params, weights.params)


@pytest.mark.parametrize(
    ("name", "value"),
    [("classes", "4"), ("image_size", "-1"), ("network", "nonsense"), ("class_names", "["),
     ("preprocessing", "{}"), ("format", "pt"), ("image_size", "99999999")],
)  # fmt: skip
def test_a_damaged_header_of_ours_is_refused(name, value, trained_file, tmp_path):
    import_weights(trained_file, "torchvision", tmp_path / "run")
    export(load_weights(tmp_path / "run"), tmp_path / "own.safetensors", "safetensors")
    tensors, metadata = read_safetensors(tmp_path / "own.safetensors")
    save_file(tensors, tmp_path / "bad.safetensors", metadata | {name: value})
    with pytest.raises(InputError) as caught:
        import_weights(tmp_path / "bad.safetensors", "safetensors", tmp_path / "again")
    assert "\n" not in str(caught.value) and not (tmp_path / "again").exists()


@pytest.fixture
def prepared(tmp_path):
    """Nine training and nine validation images of three colours, 64x64 pixels."""
    for split in ("train", "validation"):
        for place, name in enumerate(("a", "b", "c")):
            folder = tmp_path / "raw" / split / name
            folder.mkdir(parents=True)
            for i in range(3):
                image = Image.new("RGB", (64, 64), (40 * place + i, 90, 200 - i))
                image.save(folder / f"{i}.png")
    source = str(tmp_path / "raw")
    data = DataConfig(name="abc", source_kind="folder", source=source, stored_size=64)
    return data, prepare(data, tmp_path / "data", display=Display.on_stderr(quiet=True))


def test_evaluation_and_report_find_the_data_set_that_gave_the_labels(
    trained_file, prepared, tmp_path
):
    import_weights(trained_file, "torchvision", tmp_path / "run", labels=prepared[1])
    result = evaluate_run(tmp_path / "run", views=1)
    assert result.count == 9 and 0 <= result.top1_error <= 1
    assert write_run_report(tmp_path / "run").stat().st_size > 1000


def test_imported_convolutions_are_where_fine_tuning_begins(
    trained_file, narrow, tmp_path, assert_same_params
):
    import_weights(trained_file, "torchvision", tmp_path / "run")
    source = as_if_trained(narrow)
    fresh = jax.tree.map(np.zeros_like, source)
    state = TrainState(np.int32(0), fresh, (), np.zeros(2, np.uint32))  # type: ignore[arg-type]
    transfer = TransferConfig(str(tmp_path / "run"), layers=tuple(CONVOLUTIONS))
    params = transfer_layers(state, transfer, lambda line: None).params
    convolutions = {layer: source[layer] for layer in CONVOLUTIONS}
    assert_same_params(params, fresh | convolutions)


def test_a_folder_with_a_run_is_left_alone(trained_file, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(Config().to_json())
    with pytest.raises(InputError, match="holds a run already"):
        import_weights(trained_file, "torchvision", tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]


def test_wrong_requests_are_refused_in_one_line(trained_file, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\n")
    empty = tmp_path / "empty"
    empty.touch()
    requests: list[tuple[tuple[Any, str], dict[str, Any], str]] = [
        ((trained_file, "torchvison"), {}, "Did you mean 'torchvision'"),
        ((trained_file, "torchvision"), {"labels": labels}, "3 classes, but there are 2 labels"),
        ((trained_file, "torchvision"), {"mean": labels}, "leave out --mean"),
        ((trained_file, "torchvision"), {"network": "paper"}, "is not torchvision's AlexNet"),
        ((trained_file, "safetensors"), {}, "--source torchvision"),
        ((tmp_path / "nowhere", "caffe"), {}, "does not exist"),
        ((empty, "caffe"), {}, "is empty"),
        ((tmp_path, "torchvision"), {}, "is a folder"),
        ((trained_file, "caffe"), {}, "weights.safetensors"),
        ((trained_file, "cuda-convnet"), {}, "weights.safetensors"),
    ]
    for (file, source), options, message in requests:
        with pytest.raises(InputError, match=message) as caught:
            import_weights(file, source, tmp_path / "run", **options)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "run").exists()


def test_labels_go_to_the_sorted_ids_where_the_outputs_are_in_their_order(trained_file, tmp_path):
    labels = tmp_path / "map_clsloc.txt"
    labels.write_text("n01484850 1 shark\nn01608432 2 kite\nn01440764 3 tench\n")
    done = import_weights(trained_file, "torchvision", tmp_path / "run", labels=labels)
    assert read_run(tmp_path / "run").class_names == ("tench", "shark", "kite")
    assert "in the order of their WordNet ids" in done.summary()
    assert read_run(tmp_path / "run").info["import"]["notes"] == list(done.messages)
    plain = tmp_path / "plain.txt"
    plain.write_text("shark\nkite\ntench\n")
    done = import_weights(trained_file, "torchvision", tmp_path / "plain", labels=plain)
    assert read_run(tmp_path / "plain").class_names == ("shark", "kite", "tench")
    assert "in the order of the file, which says no other" in done.summary()


def test_names_without_labels():
    ids = default_names(1000, "wordnet")
    assert len(set(ids)) == 1000 and ids == tuple(sorted(ids)) and ids[0] == "n01440764"
    assert default_names(3, "wordnet") == ("class 0", "class 1", "class 2")
    assert default_names(1000, "ilsvrc")[999] == "class 999"
