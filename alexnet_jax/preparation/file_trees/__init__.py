"""Folders, tars and zips as one tree of files."""
