"""Verbs that show something: report, demo, doctor, presets, summary."""

import dataclasses
import json
import shutil
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from alexnet_jax.commands.options import AbsolutePath, Options, RunOptions
from alexnet_jax.config import AUTO
from alexnet_jax.errors import InputError
from alexnet_jax.locations import default_data_dir
from alexnet_jax.preset_notes import NOTES
from alexnet_jax.presets import PRESETS


@dataclass(frozen=True, kw_only=True)
class Report(Options):
    """Write report.html again, one self-contained file, into a run folder.

    Example:
      alexnet report --workdir runs/a

    Attributes:
      workdir: run folder.
    """

    workdir: AbsolutePath

    def run(self) -> None:
        from alexnet_jax import workflow

        print(f"wrote {workflow.write_run_report(self.workdir)}")


@dataclass(frozen=True, kw_only=True)
class Demo(RunOptions):
    """Serve a local web page: drop a photo, see the answers, the views and the maps of the layers.

    Example:
      alexnet demo --workdir runs/a

    Needs `pip install "alexnet_jax[demo]"`. No photo is kept, and nothing leaves this machine.

    Attributes:
      host: address to listen on; with any address but loopback, other machines can use the page.
      port: port to listen on; 0: any free one.
    """

    host: str = "127.0.0.1"
    port: int = 8000

    def run(self) -> None:
        from alexnet_jax.insight import demo
        from alexnet_jax.insight.classifier import load

        demo.serve(load(self.workdir, self.checkpoint), self.workdir.name, self.host, self.port)


@dataclass(frozen=True, kw_only=True)
class Doctor(Options):
    """Check the installation, devices, disk, data sets, a run folder, or ImageNet's archives.

    Example:
      alexnet doctor --workdir runs/a

    Exit code 0 if all is well, 1 if something must be repaired.

    Attributes:
      workdir: run folder to check, too.
      data_dir: folder of prepared data sets; by default $ALEXNET_DATA_DIR, else the user's cache.
      imagenet: folder with the archives of ILSVRC-2012; their MD5 sums are checked (minutes).
    """

    workdir: AbsolutePath | None = None
    data_dir: AbsolutePath | None = None
    imagenet: AbsolutePath | None = None

    def run(self) -> int:
        from alexnet_jax import doctor

        return doctor.examine(self.workdir, self.data_dir or default_data_dir(), self.imagenet)


@dataclass(frozen=True, kw_only=True)
class Presets(Options):
    """List the ready-made experiments, what each needs, and what to expect.

    Example:
      alexnet presets --format json

    Attributes:
      format: how to print.
    """

    format: Literal["table", "json"] = "table"

    def run(self) -> None:
        if self.format == "json":
            rows = {
                name: dataclasses.asdict(NOTES[name]) | {"config": dataclasses.asdict(config)}
                for name, config in PRESETS.items()
            }
            print(json.dumps(rows, indent=2, ensure_ascii=False))
        else:
            print("\n".join(line for name in PRESETS for line in _preset_lines(name)))


def _preset_lines(name: str) -> list[str]:
    config, note = PRESETS[name], NOTES[name]
    network = f"{config.network}, {config.epochs:g} epochs, batch {config.batch_size}"
    facts = {
        "network": "chosen to suit the photos" if config.network == AUTO else network,
        "source": note.source,
        "needs": note.needs or "nothing",
        "time": note.expected_time,
        "score": f"{note.expected_score} (measured by: {note.measured_by})",
        "command": note.command,
    }
    return [f"{name}: {note.summary}", *_wrapped(facts)]


def _wrapped(facts: Mapping[str, Any]) -> list[str]:
    """Returns `  name     text` lines; a command stays whole."""
    width = max(60, min(shutil.get_terminal_size().columns, 100))
    lines = []
    for name, text in facts.items():
        indent = f"  {name:<8} "
        if name == "command":
            lines.append(indent + text)
        else:
            lines += textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=" " * 11)
    return lines


@dataclass(frozen=True, kw_only=True)
class Summary(Options):
    """Show a network as a table: layers, sizes, receptive fields, parameters, towers.

    Example:
      alexnet summary --network original
      alexnet summary --workdir runs/a --format csv

    Attributes:
      network: its name; by default paper.
      workdir: run folder with the network to show.
      image_size: height and width of the images in pixels; by default the network's, or the run's.
      classes: number of outputs; by default the network's, or the run's.
      format: how to print; csv and json have numbers without commas, for programs.
    """

    network: str | None = None
    workdir: AbsolutePath | None = None
    image_size: int | None = None
    classes: int | None = None
    format: Literal["table", "markdown", "csv", "json"] = "table"

    def run(self) -> None:
        from alexnet_jax.network.networks import find_network
        from alexnet_jax.network.summary import summary
        from alexnet_jax.network.summary_text import format_summary

        if self.workdir is None:
            network, size = find_network("paper" if self.network is None else self.network), None
        elif self.network is not None:
            raise InputError("--network and --workdir both name a network; give one of them")
        else:
            from alexnet_jax.runs.run_folder import read_run

            run = read_run(self.workdir)
            network, size = run.network, run.image_size
        if self.classes is not None:
            network = network.with_classes(self.classes)
        size = size if self.image_size is None else self.image_size
        print(format_summary(summary(network, size), self.format))
