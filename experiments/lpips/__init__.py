"""LPIPS compared with the package `lpips` and torchmetrics."""
