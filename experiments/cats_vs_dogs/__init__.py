"""Cats against dogs as a competition gives them and as courses teach it."""
