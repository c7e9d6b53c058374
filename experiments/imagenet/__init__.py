"""The sets of the paper: ready to be trained on."""
