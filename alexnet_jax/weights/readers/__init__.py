"""Weights of other programs, in."""
