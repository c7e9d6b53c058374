"""A newcomer with a tar of photos: the commands, their times, and what comes out."""
