"""The benchmarks: tables say what the records say, and rivals compute the same networks."""

import dataclasses
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet_jax.network.layers import parametric_layers, with_features
from alexnet_jax.network.model import AlexNet
from alexnet_jax.network.networks import NETWORKS
from experiments.benchmarks import (
    cells,
    contest,
    memory,
    plots,
    profile,
    records,
    targets,
    torch_contestant,
    work,
)
from experiments.benchmarks import contestants as who
from experiments.benchmarks.networks import DEFAULT, ratios


@pytest.mark.slow
def test_a_contest_goes_round_and_survives_a_contestant_that_dies(sooner):
    entries = [
        who.contestant(who.OURS, "digits", "inference", 2),
        contest.Contestant("dies", "contest", {}, 1.0),
        who.contestant(who.PLAIN, "digits", "inference", 2),
        who.product(who.PRODUCT_XLA, 64),
    ]
    lines: list[str] = []
    rules = contest.Rules(rounds=2, turn_seconds=0.001)
    scores = contest.hold(entries, rules, lines.append)
    assert "died with exit status 0" in scores["dies"].failed
    assert "rate" not in scores["dies"].record()
    turns = [line for line in lines if "round" in line]
    living = [name for name, score in scores.items() if not score.failed]
    assert living == [who.OURS, who.PLAIN, who.PRODUCT_XLA]
    assert [line.split("  ")[2].rpartition(":")[0] for line in turns] == living * 2
    for name in living:
        record = scores[name].record()
        assert record["turns"] == 2
        assert 0 < record["lowest_seconds"] <= record["median_seconds"]
        assert record["rate"] == pytest.approx(record["work"] / record["median_seconds"], rel=1e-3)
    assert "max_pool" in scores[who.PLAIN].details["replaced"]


def test_a_slow_contestant_has_one_turn():
    entries = [who.product(who.PRODUCT_XLA, 64)]
    score = contest.hold(entries, contest.Rules(rounds=3, slow_seconds=0.0))[who.PRODUCT_XLA]
    assert score.cold and score.turns == 1 and len(score.seconds) == 1


def test_without_pytorch_its_contestants_say_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(contest.ContestantError, match="PyTorch is not installed"):
        torch_contestant.build({"kind": "bound", "size": 8})


@pytest.mark.oracle
@pytest.mark.parametrize("name", DEFAULT)
def test_the_networks_in_pytorch_have_the_same_logits(name):
    torch = pytest.importorskip("torch", reason="PyTorch, the rival, is not installed")
    from experiments.benchmarks.torch_network import TorchNetwork

    network = _narrowed(NETWORKS[name].with_classes(7))
    size, batch = network.image_size, 1 if NETWORKS[name].image_size > 100 else 2
    params = _random_params(network, size)
    rng = np.random.default_rng(2)
    images = (rng.standard_normal((batch, size, size, 3)) * 30).astype(np.float32)
    ours = np.asarray(jax.jit(AlexNet(network).apply)({"params": params}, images))
    model: Any = TorchNetwork(network)
    model.load(params)
    model.eval()
    for memory_format in (torch.contiguous_format, torch.channels_last):
        pixels = torch.tensor(images.transpose(0, 3, 1, 2).copy())
        with torch.inference_mode():
            converted = model.to(memory_format=memory_format)
            theirs = converted(pixels.contiguous(memory_format=memory_format)).numpy()
        error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
        assert np.isfinite(error) and error < 2e-4, (memory_format, error)


def _narrowed(network):
    """Returns the network with less to multiply in fc6 and fc7."""
    if not {"fc6", "fc7"} <= {layer.name for layer in parametric_layers(network.layers)}:
        return network
    layers = with_features(network.layers, {"fc6": 96, "fc7": 96})
    return dataclasses.replace(network, layers=layers)


def _random_params(network, size):
    """Returns random parameters under which the signal neither dies nor explodes."""
    blank = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    shapes: Any = jax.eval_shape(AlexNet(network).init, jax.random.key(0), blank)
    rng = np.random.default_rng(1)

    def draw(path, leaf):
        if path[-1].key == "bias":
            return rng.normal(0, 0.1, leaf.shape).astype(np.float32)
        axes = leaf.shape[-4:-1] if leaf.ndim > 2 else leaf.shape[:1]
        return rng.standard_normal(leaf.shape, np.float32) * np.float32(np.sqrt(2 / np.prod(axes)))

    return jax.tree_util.tree_map_with_path(draw, shapes["params"])


def test_arithmetic_of_the_paper():
    # Forward: 2 x 724,406,816 multiply-adds, of which conv1 has 55 x 55 x 11 x 11 x 3 x 96.
    assert work.gflop("paper", "inference") == pytest.approx(1.4488, abs=1e-4)
    conv1 = 2 * 55 * 55 * 11 * 11 * 3 * 96 / 1e9
    assert work.gflop("paper", "train") == pytest.approx(3 * 1.4488 - conv1, abs=3e-4)


def test_a_record_keeps_other_entries_unless_the_hardware_differs(tmp_path):
    path = tmp_path / "networks.json"
    records.Record(path, "How fast?").put("a", {"n": 1})
    records.Record(path, "How fast?").put("b", {"n": 2})
    content: Any = records.read(path)
    assert {name: entry["n"] for name, entry in content["entries"].items()} == {"a": 1, "b": 2}
    records.write(path, content | {"environment": content["environment"] | {"cpu_cores": 999}})
    records.Record(path, "How fast?").put("c", {"n": 3})
    content = records.read(path)
    assert list(content["entries"]) == ["c"]
    assert [file.name for file in tmp_path.iterdir()] == ["networks.json"]


def _score(rate):
    return {"rate": rate, "lowest_rate": rate - 1, "highest_rate": rate + 1,
            "median_seconds": 1 / rate, "lowest_seconds": 1 / rate, "highest_seconds": 1 / rate,
            "turns": 3}  # fmt: skip


def _networks_entry(what):
    scores = {who.OURS: _score(40.0), who.CONTIGUOUS: _score(10.0), who.CHANNELS_LAST: _score(16.0),
              who.PLAIN: {"failed": "no answer within 1 s"},
              who.PRODUCT_XLA: _score(160.0), who.PRODUCT_TORCH: _score(200.0)}  # fmt: skip
    return {"what": what, "batch": 128, "network": "paper", "bound_images_per_second": 50.0,
            "ratios": ratios(scores, 4.0), "contestants": scores,
            "date": "2012-12-03 00:00 UTC"}  # fmt: skip


def test_ratios_take_the_faster_rival_and_the_faster_product():
    entry = _networks_entry("train")
    assert entry["ratios"] == {"PyTorch": 2.5, "bound": 0.8}


def test_cells_of_scores_and_rows():
    assert cells.rate(_score(40.0)) == "40.0 (39.0–41.0)"
    assert cells.rate(_score(1234.5) | {"cold": True}) == "1,234 (one turn)"
    assert cells.milliseconds(_score(400.0)) == "2.50 (2.50–2.50)"
    assert cells.rate({"failed": "no answer"}) == cells.milliseconds({"failed": "no answer"})
    assert cells.rate(None) == cells.milliseconds(None) == cells.number(None) == "–"
    row = {"name": "peak", "value": 1234.5, "unit": "MiB", "low": 1.0, "high": 2.0, "note": ""}
    assert cells.measurement(row) == ("peak", "1,234 (1.00–2.00)", "MiB", "")


def test_targets_are_compared_with_the_records():
    entries = {f"paper/{what}": _networks_entry(what) for what in ("train", "inference")}
    found: Any = {
        "networks": {"entries": entries},
        "startup": {"rows": [{"name": "first step, warm cache", "value": 3.1}]},
        "memory": {"network": "paper", "batch": 128, "rows": memory.rows(_memory_found())},
    }
    rows = {words: rest for words, *rest in targets.rows(found.get)}
    assert rows["`paper`, training: ours / PyTorch"] == ["at least 3", "2.50", "no"]
    assert rows["`paper`, training: ours / plain Flax"] == ["at least 9", "not measured", ""]
    first = rows["seconds from the default command to the first step, warm cache"]
    assert first == ["at most 8", "3.10", "yes"]
    peak = "peak memory of a training step of `paper`, batch 128: ours / PyTorch"
    assert rows[peak] == ["at most 1", "1.50", "no"]
    found["memory"]["batch"] = 4
    assert (peak, "at most 1", "not measured", "") in targets.rows(found.get)


def _memory_found():
    found = {"whole": 3000.0, "PyTorch, contiguous": 2500.0, "PyTorch, channels_last": 2000.0}
    rest = {"temporary_mib": 4.0, "before_mib": 1.0, "step_seconds": 2.0, "step_cpu_seconds": 3.0}
    return {name: [rest | {"peak_mib": peak}] for name, peak in found.items()}


def test_rows_of_memory_leave_out_what_a_contestant_lacks():
    found = _memory_found()
    for form in ("contiguous", "channels_last"):
        del found[f"PyTorch, {form}"][0]["temporary_mib"]
    names = [row["name"] for row in memory.rows(found) if "buffers" in row["name"]]
    assert names == ["temporary buffers (XLA), whole"]
    assert memory.ratio(memory.rows({"whole": found["whole"]})) is None


@pytest.mark.slow
def test_memory_is_measured_in_this_process():
    result = memory.measure({"network": "digits", "batch": 4, "steps": 1, "accumulation": 1})
    assert result["peak_mib"] >= result["before_mib"] > 0 and "temporary_mib" in result


def test_pictures_of_invented_results(tmp_path):
    pytest.importorskip("matplotlib", reason="the pictures need matplotlib")
    entries = {f"paper/{what}": _networks_entry(what) for what in ("train", "inference")}
    plots.draw_networks(entries, ("paper", "absent"), tmp_path / "networks.svg")
    scaling = {
        f"paper/{what}/{batch}": _networks_entry(what) | {"batch": batch}
        for what in ("train", "inference")
        for batch in (1, 2, 4)
    }
    plots.draw_scaling(scaling, tmp_path / "scaling.svg")
    for name in ("networks.svg", "scaling.svg"):
        assert (tmp_path / name).read_text().lstrip().startswith("<?xml")


_GRADIENT = "transpose(jvp(AlexNet))"


@pytest.mark.parametrize(
    ("path", "name", "words"),
    [
        (
            f"{_GRADIENT}/conv2/cond/branch_0_fun/transpose(jvp())/dot_general",
            "ynn_fusion.3",
            "convolutions, gradients: products and transforms",
        ),
        (
            "jvp(AlexNet)/conv3/cond/branch_0_fun/conv_general_dilated",
            "ynn_fusion.9",
            "convolutions, forward: products and transforms",
        ),
        (
            f"{_GRADIENT}/conv4/cond/branch_0_fun/transpose(jvp())/pad",
            "concatenate_bitcast_fusion",
            "convolutions, taking tiles in and out",
        ),
        ("jvp(AlexNet)/conv1/add", "add_fusion", "convolutions, biases"),
        (f"{_GRADIENT}/pool1/cond/branch_0_fun/eq", "fusion", "pooling"),
        ("jvp(AlexNet)/norm2/cond/branch_0_fun/square", "fusion", "response normalization"),
        ("jvp(AlexNet)/fc8/dot_general", "dot.3", "dense layers"),
        ("jvp(AlexNet)/relu6/jit(relu)/max", "fusion", "activations and the rest of the network"),
        ("add", "select_add_fusion", "update, input"),
    ],
)
def test_the_profile_tells_kinds_of_operations_apart(path, name, words):
    assert profile.kind(f"jit(train_step)/{path}", name) == words
