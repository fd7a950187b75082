"""Search: rank the galaxies of a survey by how much they are what a prompt describes."""
