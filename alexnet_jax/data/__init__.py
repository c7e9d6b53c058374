"""What goes in at every step: stored images to augmented batches."""
