"""In from and out to other programs."""
