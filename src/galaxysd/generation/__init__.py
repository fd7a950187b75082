"""Galaxies on request: prompts and tables of prompts to images, manifests, contact sheets and report pages."""
