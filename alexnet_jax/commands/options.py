"""Options that several verbs share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from alexnet_jax import processes

AbsolutePath = Annotated[
    Path,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        # Absolute from here on: Orbax refuses relative paths, and only in its background thread.
        instance_from_str=lambda words: Path(words[0]).expanduser().absolute(),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    ),
]
Flag = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of every verb.

    Attributes:
      debug: show the traceback of an error.
      verbose: show the messages of the libraries, too.
    """

    debug: Flag = False
    verbose: Annotated[Flag, tyro.conf.arg(aliases=["-v"])] = False

    def run(self) -> int | None:
        """Does what the verb says; returns the exit code, None for 0."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """Options of verbs that use a run.

    Attributes:
      workdir: run folder.
      checkpoint: best, last, or a step number.
    """

    workdir: AbsolutePath
    checkpoint: str = "best"


@dataclass(frozen=True, kw_only=True)
class ProcessOptions:
    """Options of verbs that can run as several processes, one command each.

    Attributes:
      cluster: join the other processes that Slurm, Open MPI, GKE or a TPU pod has started.
      coordinator: HOST:PORT of process 0, if there is no cluster; the same for all processes.
      processes: number of processes, with --coordinator.
      process_id: number of this process from 0, with --coordinator.
    """

    cluster: Flag = False
    coordinator: str = ""
    processes: int = 0
    process_id: int = -1

    def connect(self) -> None:
        """Joins the other processes, if there are any."""
        if self.cluster or self.coordinator or self.processes or self.process_id != -1:
            processes.connect(self.coordinator, self.processes, self.process_id)
