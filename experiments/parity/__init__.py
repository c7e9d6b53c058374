"""Our networks against PyTorch and NumPy: logits, gradients, update rule, layouts."""
