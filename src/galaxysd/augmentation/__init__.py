"""The augmentation experiment: do generated galaxies make a better classifier?"""
