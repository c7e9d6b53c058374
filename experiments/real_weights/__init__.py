"""Real trained convolutions, imported, and what a linear classifier makes of their features."""
