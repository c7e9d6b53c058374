"""Is the AlexNet of MXNet's gluon the same here? Its own files, its own logits.

    python -m experiments.foreign_files.mxnet_files   # minutes; installs MXNet

Writes `results/mxnet.json` and the table of the page.
"""

from experiments.foreign_files import proof

REQUIREMENTS = ("mxnet==1.9.1", "numpy==1.23.5")
FILES = {
    "alexnet.params": "net.save_parameters",
    "named.params": "net.collect_params().save",
    "symbol-0000.params": "net.export",
}


def main() -> None:
    arguments = proof.options(__doc__, "mxnet").parse_args()
    with proof.scratch(arguments) as folder:
        python = proof.install(folder / "mxnet", "3.8", REQUIREMENTS)
        proof.run([python, proof.HERE / "writers" / "write_mxnet.py"], folder)
        rows = proof.compare(folder, FILES)
        proof.record(arguments.output, "MXNet", folder, rows)


if __name__ == "__main__":
    main()
