"""PointPillars as plain modules."""
