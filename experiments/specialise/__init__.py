"""Whether the towers specialise in colour."""
