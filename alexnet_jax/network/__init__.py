"""What is computed: layer specs, every network as data, the interpreter, the numeric kernels."""
