"""Our exported files in other people's runtimes."""
