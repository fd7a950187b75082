"""Evaluation: realism, diversity, consistency and memory of dreamed galaxies, each with its floor and interval."""
