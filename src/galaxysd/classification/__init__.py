"""Classifiers of galaxies: classes by rules over the votes, networks, calibrated predictions, and how good they are."""
