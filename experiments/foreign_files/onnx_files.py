"""Are networks of ONNX files the same here? Files of PyTorch's exporters and of ONNX's model zoo.

    python -m experiments.foreign_files.onnx_files   # minutes; installs PyTorch and onnxruntime

The zoo's graph comes from the tests of the package `onnx`, which has it without the weights; they
are random. Writes `results/onnx.json` and the table of the page.
"""

from experiments.foreign_files import proof

REQUIREMENTS = (
    "torch==2.13.0",
    "onnx==1.23.2",
    "onnxruntime==1.32.0",
    "onnxscript==0.7.2",
    "numpy==2.4.6",
)
FILES = {
    "script.onnx": "torch.onnx.export(…, dynamo=False)",
    "free.onnx": "the same for any batch",
    "plain.onnx": "the same without folding, opset 9, weights as inputs",
    "half.onnx": "the same in float16",
    "dynamo.onnx": "torch.onnx.export(…, dynamo=True), weights in another file",
    "free_dynamo.onnx": "the same for any batch, in one file",
    "unoptimized.onnx": "the same without optimization",
    "zoo.onnx": "bvlcalexnet of ONNX's model zoo, opset 9",
}


def main() -> None:
    arguments = proof.options(__doc__, "onnx").parse_args()
    with proof.scratch(arguments) as folder:
        python = proof.install(folder / "onnx", "3.11", REQUIREMENTS)
        rows = []
        for name, files in (("torch", list(FILES)[:-1]), ("zoo", ["zoo.onnx"])):
            proof.run([python, proof.HERE / "writers" / "write_onnx.py", name], folder)
            rows += proof.compare(folder / name, {file: FILES[file] for file in files})
        proof.record(arguments.output, "ONNX", folder, rows)


if __name__ == "__main__":
    main()
