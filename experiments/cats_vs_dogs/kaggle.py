"""Packs cats and dogs like Kaggle's competition: train.zip, test1.zip, sampleSubmission.csv.

python -m experiments.cats_vs_dogs.kaggle lay-out --data CATS_VS_DOGS --into FOLDER --key KEY.csv
python -m experiments.cats_vs_dogs.kaggle walk FOLDER --key KEY.csv --epochs 10
python -m experiments.cats_vs_dogs.kaggle score submission.csv --key KEY.csv

`--data` is a folder with train.tar.gz and test.tar.gz of class folders. The test photos lose their
names and get numbers from 1 in an order that mixes the classes; their labels go into the key.
`walk` runs the three commands of the page in FOLDER, and the third again for probabilities (an
unfinished run there continues; submissions are made anew), scores the submissions, and writes the
record and the page.
"""

import csv
import io
import math
import shlex
import zipfile
from pathlib import Path
from typing import Any

from alexnet_jax.data.augment import permutation
from experiments import pages, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import write
from experiments.own_photos.run import photos_of, timed

RECORD = Path(__file__).parent / "results" / "kaggle.json"
SEED = 2013
CLASSES = ("cat", "dog")  # by their labels
SUBMISSION = "submission.csv"
REDUX = "redux.csv"
RUN = "runs/cats-vs-dogs"
KEPT_LINES = ("test error", "trained", "loss", "top-1 error", "wrote answers")
COMMANDS = (
    f"train --preset cats-vs-dogs-224 --data.source train.zip --workdir {RUN}",
    f"evaluate --workdir {RUN} --views 1",
    f"predict --workdir {RUN} test1.zip --format submission --output {SUBMISSION}",
)
LATER = COMMANDS[-1].replace(SUBMISSION, f"{REDUX} --probability-of dog")


def lay_out(data: Path, folder: Path, key: Path) -> dict[str, int]:
    """Writes the files of the competition, and the key, `id,label`; returns the photos by file."""
    folder.mkdir(parents=True, exist_ok=True)
    train = [(f"train/{name}", photo) for _, name, photo in photos_of(data / "train.tar.gz")]
    _write_zip(folder / "train.zip", train)
    test = list(photos_of(data / "test.tar.gz"))
    mixed = [test[place] for place in permutation(SEED, 0, len(test))]
    _write_zip(
        folder / "test1.zip",
        [(f"test1/{number}.jpg", photo) for number, (*_, photo) in enumerate(mixed, 1)],
    )
    _write_labels(folder / "sampleSubmission.csv", [0] * len(mixed))
    _write_labels(key, [CLASSES.index(kind) for kind, *_ in mixed])
    return {"train.zip": len(train), "test1.zip": len(test)}


def score(submission: Path, key: Path) -> dict[str, float]:
    """Returns the share of right labels and the log loss of a submission, `id,label`.

    Its labels are 0 and 1, or probabilities of 1.
    """
    given, wanted = _read_labels(submission), _read_labels(key)
    if given.keys() != wanted.keys():
        raise SystemExit(f"{submission} does not have the ids of {key}, each once")
    right = sum((given[name] > 0.5) == bool(label) for name, label in wanted.items())
    # Clipped like scikit-learn's log loss: a wrong 0 or 1 costs much, but not infinity.
    chances = {name: min(max(value, 1e-15), 1 - 1e-15) for name, value in given.items()}
    losses = (math.log(chances[n] if label else 1 - chances[n]) for n, label in wanted.items())
    return {
        "photos": len(wanted),
        "accuracy": right / len(wanted),
        "log_loss": -sum(losses) / len(wanted),
    }


def walk(folder: Path, key: Path, epochs: float) -> dict[str, Any]:
    """Runs the commands in a folder of `lay_out`; returns their output and the scores.

    An unfinished run continues; 0 epochs: as many as the preset has.
    """
    shorter = ["--epochs", f"{epochs:g}"] if epochs else []
    (folder / SUBMISSION).unlink(missing_ok=True)
    (folder / REDUX).unlink(missing_ok=True)
    commands = [shlex.split(command) for command in (*COMMANDS, LATER)]
    commands[0] += shorter
    steps = [timed(words, folder, KEPT_LINES) for words in commands]
    place = f"{folder.resolve()}/"
    return {
        "steps": [
            {"command": step["command"], "said": [line.replace(place, "") for line in step["said"]]}
            for step in steps
        ],
        "accuracy": score(folder / SUBMISSION, key)["accuracy"],
        "log_loss": score(folder / REDUX, key)["log_loss"],
        "photos": len(_read_labels(key)),
    }


def _write_zip(path: Path, photos: list[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, photo in photos:
            archive.writestr(zipfile.ZipInfo(name), photo)


def _write_labels(path: Path, labels: list[int]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("id", "label"))
    table.writerows(enumerate(labels, 1))
    path.write_text(text.getvalue(), "utf-8")


def _read_labels(path: Path) -> dict[str, float]:
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = {row["id"]: float(row["label"]) for row in rows}
    if len(labels) < len(rows):
        raise SystemExit(f"{path} has an id twice; keep one of the rows")
    return labels


def main() -> None:
    parser = programs.parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    pack, scoring = commands.add_parser("lay-out"), commands.add_parser("score")
    walking = commands.add_parser("walk")
    pack.add_argument("--data", type=Path, required=True)
    pack.add_argument("--into", type=Path, required=True)
    scoring.add_argument("submission", type=Path)
    walking.add_argument("folder", type=Path)
    walking.add_argument("--epochs", type=float, default=0, help="0: as the preset")
    for command in (pack, scoring, walking):
        command.add_argument("--key", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.command == "lay-out":
        print(lay_out(arguments.data, arguments.into, arguments.key))
    elif arguments.command == "score":
        print(score(arguments.submission, arguments.key))
    else:
        record = walk(arguments.folder, arguments.key, arguments.epochs)
        record["environment"] = environment()
        write(RECORD, record)
        pages.write("cats_vs_dogs")


if __name__ == "__main__":
    main()
