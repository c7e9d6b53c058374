"""Two towers, many replicas: what they compute, and what they send each other."""
