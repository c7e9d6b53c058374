"""Is the AlexNet of Keras's users on Theano the same here? Files and logits of Keras 1.2 itself.

    python -m experiments.foreign_files.keras_files   # minutes; installs Keras

The network is that of convnets-keras, written once more for Keras's functional interface. Writes
`results/keras.json` and the table of the page.
"""

from experiments.foreign_files import proof

# PyYAML's and h5py's last wheels for Python 3.6.
REQUIREMENTS = (
    *("Keras==1.2.2", "Theano==0.9.0", "h5py==2.10.0"),
    *("numpy==1.16.6", "scipy==1.2.3", "pyyaml==5.4.1"),
)
FILES = {"alexnet_weights.h5": "model.save_weights", "model.h5": "model.save"}


def main() -> None:
    arguments = proof.options(__doc__, "keras").parse_args()
    with proof.scratch(arguments) as folder:
        python = proof.install(folder / "keras", "3.6", REQUIREMENTS, pip="pip==21.3.1")
        flags = f"floatX=float32,device=cpu,base_compiledir={folder / 'theano'}"
        proof.run(
            [python, proof.HERE / "writers" / "write_keras.py"],
            folder,
            KERAS_BACKEND="theano",
            THEANO_FLAGS=flags,
        )
        rows = proof.compare(folder, FILES)
        proof.record(arguments.output, "Keras on Theano", folder, rows)


if __name__ == "__main__":
    main()
