"""Rare galaxies: dream a target, score a survey, rank, vet and publish what was found."""
