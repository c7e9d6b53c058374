"""What goes in: data sets at rest, statistics, augmentation, the pipeline."""
