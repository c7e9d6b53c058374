"""The contestants in PyTorch. Their images are already float32 of the network's size.

Options (JSON):
  kind: "torch", or "bound", square float32 matrix products.
  network, batch, what: "train" or "inference".
  views: images of the test per image; already cropped, too.
  memory_format: "contiguous" or "channels_last".
  compile: run the network through `torch.compile`.
  keep_freed_memory: give PyTorch the allocator settings of this project.
"""

from collections.abc import Callable
from typing import Any

from alexnet_jax.network.host_memory import keep_freed_memory
from alexnet_jax.network.networks import NETWORKS
from experiments.benchmarks import contest, work
from experiments.benchmarks.environment import threads

Run = Callable[[int], None]


def build(options: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    """Returns what `contest.serve` asks for."""
    try:
        import torch
    except ImportError:
        raise contest.ContestantError("PyTorch is not installed") from None
    if options.get("keep_freed_memory"):
        keep_freed_memory()
    torch.set_num_threads(threads())
    torch.manual_seed(0)
    details = {"threads": torch.get_num_threads()}
    if options["kind"] == "bound":
        return matrix_products(options["size"]), details
    try:
        run = program(options)
        if options.get("compile"):
            run(1)  # it compiles at the first call, which must not pass for a slow iteration
        return run, details
    except NotImplementedError as error:
        raise contest.ContestantError(str(error)) from None


def program(options: dict[str, Any]) -> Run:
    """Returns what the options name: training steps or tests."""
    return {"train": training, "inference": inference}[options["what"]](options)


def _network(options: dict[str, Any]) -> tuple[Any, Any]:
    import torch

    from experiments.benchmarks.torch_network import TorchNetwork

    name = options["network"]
    model: Any = TorchNetwork(NETWORKS[name])
    size = work.image_size(name)
    images = torch.randn(options["batch"] * options.get("views", 1), 3, size, size) * 60
    if options["memory_format"] == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    device = options.get("device", "cpu")
    return model.to(device), images.to(device)


def training(options: dict[str, Any]) -> Run:
    """Returns training steps: cross entropy, momentum, decay of the weights only, fused SGD."""
    import torch

    model, images = _network(options)
    model.train()
    settings = work.experiment(options["network"]).optimizer
    classes = NETWORKS[options["network"]].classes
    labels = torch.randint(classes, (options["batch"],), device=images.device)
    groups = [
        {
            "params": list(model.weights.parameters()),
            "lr": settings.learning_rate,
            "weight_decay": settings.weight_decay,
        },
        {
            "params": list(model.biases.parameters()),
            "lr": settings.bias_learning_rate,
            "weight_decay": 0.0,
        },
    ]
    optimizer = torch.optim.SGD(groups, momentum=settings.momentum, fused=True)
    forward = torch.compile(model) if options.get("compile") else model

    def run(iterations: int) -> None:
        for _ in range(iterations):
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(forward(images), labels).backward()
            optimizer.step()

    return run


def inference(options: dict[str, Any]) -> Run:
    """Returns tests: softmax, averaged over the views."""
    import torch

    model, images = _network(options)
    model.eval()
    forward = torch.compile(model) if options.get("compile") else model
    views = options.get("views", 1)

    def run(iterations: int) -> None:
        with torch.inference_mode():
            for _ in range(iterations):
                probabilities = torch.softmax(forward(images), dim=1)
                if views > 1:
                    probabilities.unflatten(0, (views, -1)).mean(0)

    return run


def matrix_products(size: int) -> Run:
    import torch

    a, b = torch.randn(size, size), torch.randn(size, size)

    def run(iterations: int) -> None:
        for _ in range(iterations):
            torch.mm(a, b)

    return run


if __name__ == "__main__":
    contest.serve(build)
