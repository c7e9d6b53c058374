"""The whole program, from stored images to probabilities, as ONNX, checked by onnxruntime."""

from pathlib import Path

from alexnet_jax.runs.weights import RunWeights
from alexnet_jax.weights.writers import output as out
from alexnet_jax.weights.writers.interface import describe_program
from alexnet_jax.weights.writers.probe import check, judged, make_probe
from alexnet_jax.weights.writers.safetensors import check_params

WHAT = "the ONNX model"


def export_onnx(weights: RunWeights, output: str | Path) -> out.Exported:
    """Writes a model for any batch size.

    It holds the centre crop, the preprocessing and the parameters. Input and outputs are those of
    `interface.describe_program`; inside, images have their channels first, as ONNX wants it.

    Args:
      weights: from `load_weights`.
      output: a file name ending in `.onnx`; nothing may exist there, nor at `<output>.json`.

    Raises:
      InputError: the name does not fit, exists already, or cannot be written; a package is missing;
        the network has a layer that ONNX cannot express.
      CheckpointError: the parameters are not finite, or the file computes other logits.
    """
    path, sidecar = out.names(output, ".onnx")
    onnx = out.need("onnx", "an ONNX export")
    runtime = out.need("onnxruntime", "the check of an ONNX export")
    check_params(weights)
    from alexnet_jax.weights.writers.onnx_graph import OPSET, build_model

    model = build_model(weights, describe_program(weights, "onnx", ""))
    probe = make_probe(weights)
    with out.fresh(path, sidecar) as (file, notes):
        onnx.save_model(model, str(file))
        with judged(WHAT, f"onnx {onnx.__version__}"):
            onnx.checker.check_model(str(file), full_check=True)
        by = f"onnxruntime {runtime.__version__}"
        with judged(WHAT, by):
            session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        checked = check(
            WHAT,
            by,
            probe,
            lambda images: session.run(["logits"], {"images": images})[0],
        )
        facts = {"onnx": onnx.__version__, "opset": OPSET}
        out.write_json(notes, describe_program(weights, "onnx", checked) | facts)
    return out.Exported(path, sidecar, out.size_of(path), checked)
