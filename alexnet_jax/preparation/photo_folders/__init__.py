"""Photos in folders or archives: which are the splits and the classes."""
