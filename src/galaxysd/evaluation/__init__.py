"""Evaluation: a generator against held-out real galaxies, metric by metric, as one report."""
