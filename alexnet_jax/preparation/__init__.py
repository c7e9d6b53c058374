"""Preparing a data set, once: listing, decoding, storing, measuring."""
