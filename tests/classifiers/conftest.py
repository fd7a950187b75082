"""Drawn shapes that a tiny network can learn, and a toy dataset."""

from toy_shapes import shape_names, shapes, tiny, toy  # noqa: F401 - fixtures
