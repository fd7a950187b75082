"""Galaxies as data: decoding, framing, dataset folders, transforms, export, and a toy survey."""
