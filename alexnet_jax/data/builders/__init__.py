"""Readers of raw image collections: folders, tars, CIFAR-10, ILSVRC, digits, TFDS."""
