"""Classifiers of galaxies: class rules, networks, calibrated predictions, and how good they are."""
