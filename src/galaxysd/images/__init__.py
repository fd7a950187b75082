"""Pictures of galaxies: decoding, framing, dataset folders, export, contact sheets, and a toy survey."""
