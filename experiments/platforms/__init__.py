"""Which systems and versions of Python have wheels of everything that is required."""
