"""Runs that are stopped at random moments by every signal, again and again, and their ends."""
