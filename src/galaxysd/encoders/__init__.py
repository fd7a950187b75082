"""Encoders: images to features in which alike galaxies are near each other."""
