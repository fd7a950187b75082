"""`python -m galaxysd`: the command line."""

from galaxysd.cli import main

main()
