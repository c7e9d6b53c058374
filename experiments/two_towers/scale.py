"""Does a training step stay the same size per device, from 1 device to 512?

    python -m experiments.two_towers.scale

Compiles the training step for meshes of virtual devices, without running it: XLA's account of the
memory of one device, and the collectives of the compiled program next to the formula. Images per
replica stay the same, so that the batch grows with the replicas. Writes `results/scale.json`.
"""

import json
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from alexnet_jax.config import Config
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.data.stream import Batch
from alexnet_jax.network import placement
from alexnet_jax.network.layers import Network
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.training.steps import init_state, make_train_step
from experiments import programs
from experiments.benchmarks import jobs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import write
from experiments.two_towers import traffic
from experiments.two_towers.run import RESULTS

MESHES = ((1, 1), (1, 2), (4, 2), (16, 2), (64, 2), (256, 2))  # replicas, towers


def main() -> None:
    parser = programs.parser(__doc__, RESULTS / "scale.json")
    parser.add_argument("--network", default="paper")
    parser.add_argument("--images-per-replica", type=int, default=128)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    arguments = parser.parse_args()
    settings = {"network": arguments.network, "images_per_replica": arguments.images_per_replica}
    rows = []
    for dtype in arguments.dtypes:
        for replicas, towers in MESHES:
            mesh = {"dtype": dtype, "replicas": replicas, "towers": towers}
            # Compiled by a process with as many devices.
            variables = {"JAX_NUM_CPU_DEVICES": str(replicas * towers), "JAX_PLATFORMS": "cpu"}
            rows.append(mesh | jobs.run(__spec__.name, settings | mesh, **variables))
            print(json.dumps(rows[-1]), flush=True)
    content = {
        "question": "Memory and traffic of one device in a training step, compiled for many.",
        "environment": environment(("optax",)),
        "settings": settings,
        "rows": rows,
    }
    write(arguments.output, content)


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Returns bytes per device and the seconds of compiling."""
    network, images = NETWORKS[job["network"]], job["images_per_replica"]
    rows = images * job["replicas"]
    mesh = placement.make_mesh(job["towers"], job["replicas"], batch_size=rows)
    step, arguments = abstract_step(network, Config(), mesh, rows, job["dtype"])
    began = time.monotonic()
    compiled = step.lower(*arguments).compile()
    seconds = time.monotonic() - began
    memory = compiled.memory_analysis()
    found = traffic.account(traffic.collectives(compiled.as_text()), mesh.shape)
    talk = traffic.exchanges(network, towers=job["towers"])
    itemsize = jnp.dtype(job["dtype"]).itemsize
    replicated = job["replicas"] > 1
    return {
        "state_bytes": 2 * traffic.gradient_bytes(network, job["towers"]),
        "argument_bytes": memory.argument_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "output_bytes": memory.output_size_in_bytes,
        "alias_bytes": memory.alias_size_in_bytes,
        "tower_bytes": sum(one.sent_bytes for one in (*found.forward, *found.backward)),
        "tower_bytes_formula": images
        * itemsize
        * sum(exchange.forward + exchange.backward for exchange in talk),
        "tower_arrays": [str(one.arrays) for one in (*found.forward, *found.backward)],
        "gradient_bytes": sum(one.bytes for one in found.gradients),
        "gradient_bytes_formula": replicated * traffic.gradient_bytes(network, job["towers"]),
        "scalar_bytes": sum(one.bytes for one in found.scalars),
        "others": [f"{one.operation} {one.arrays}" for one in found.others],
        "compile_seconds": round(seconds, 1),
    }


def abstract_step(
    network: Network, config: Config, mesh: Mesh, rows: int, dtype: str = "float32"
) -> tuple[Any, tuple[Any, ...]]:
    """Returns the jitted step for batches of `rows`, and its arguments as shapes on the mesh."""
    size = network.image_size
    step = make_train_step(
        network,
        config.optimizer,
        config.preprocess,
        config.augment,
        dtype,
        mesh=placement.mesh_or_none(mesh),
    )

    def shape(extents, dtype, sharding):
        return jax.ShapeDtypeStruct(extents, dtype, sharding=sharding)

    split, whole = placement.batch_sharding(mesh), placement.whole_sharding(mesh)
    state = jax.eval_shape(lambda: init_state(network, config.optimizer, size, 0))
    places = placement.shardings(mesh, network, state)
    state = jax.tree.map(lambda leaf, place: shape(leaf.shape, leaf.dtype, place), state, places)
    batch = Batch(
        images=shape((rows, size, size, 3), np.uint8, split),
        labels=shape((rows,), np.int32, split),
        mask=shape((rows,), bool, split),
        colour=shape((rows, 3), np.float32, split),
        offsets=shape((rows, 2), np.int32, split),
        flips=shape((rows,), bool, split),
    )
    side = config.data.stored_size if config.preprocess.mean == "image-aligned" else size
    extents = ((side, side, 3), (3,), (3, 3))
    inputs: Any = Inputs(*(shape(each, np.float32, whole) for each in extents))  # type: ignore[arg-type]
    rates = jax.tree.map(lambda _: shape((), jnp.float32, whole), state.params)
    return step, (state, batch, inputs, rates, shape((), bool, whole))


if __name__ == "__main__":
    if job := jobs.current():
        print(json.dumps(measure(job)))
    else:
        main()
