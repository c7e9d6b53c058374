"""Mutated files for every reader, guided by the code that they reach."""
