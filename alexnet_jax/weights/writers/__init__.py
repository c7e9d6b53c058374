"""Weights and programs, out."""
