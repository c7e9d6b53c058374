"""One runner for all claims that are tried by training: lists of configurations, as data."""
