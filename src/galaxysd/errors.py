"""The one exception that means "your input is wrong".

Raised with a message that names the file, row or word and says what would be right; the command line prints it as one
line and exits with code 2. Any other exception reaching the user is a bug in GalaxySD.
"""


class InputError(Exception):
    """Bad input from the user: a file, a table, a prompt or a setting."""
