"""Benchmarks: how fast the networks are, against PyTorch, plain Flax and the processor's bound."""
