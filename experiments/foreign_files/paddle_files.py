"""Is Paddle's AlexNet the same here? Its own file, its own logits.

    python -m experiments.foreign_files.paddle_files   # minutes; installs Paddle

Writes `results/paddle.json` and the table of the page.
"""

from experiments.foreign_files import proof

REQUIREMENTS = ("paddlepaddle==3.3.1", "numpy==2.4.6")
FILES = {
    "alexnet.pdparams": "paddle.save(model.state_dict())",
    "protocol2.pdparams": "the same, pickle protocol 2",
    "checkpoint.pdparams": "a dictionary with a state_dict in it",
}


def main() -> None:
    arguments = proof.options(__doc__, "paddle").parse_args()
    with proof.scratch(arguments) as folder:
        python = proof.install(folder / "paddle", "3.11", REQUIREMENTS)
        proof.run([python, proof.HERE / "writers" / "write_paddle.py"], folder)
        rows = proof.compare(folder, FILES)
        proof.record(arguments.output, "Paddle", folder, rows)


if __name__ == "__main__":
    main()
