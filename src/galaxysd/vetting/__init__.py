"""Vetting: people's votes on candidates, what they say, and the catalogue that comes of it."""
