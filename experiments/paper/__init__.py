"""The paper in ten minutes."""
