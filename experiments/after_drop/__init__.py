"""What the rate inside the velocity does after a drop, step by step."""
