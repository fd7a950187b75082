"""The command line: one verb per room, no logic of its own.

Heavy libraries are imported inside the verbs, so that `galaxysd --help` is immediate. Results go to stdout (as JSON
with `--json`), progress and errors to stderr. Exit codes: 0 done, 2 bad input, 130 interrupted.
"""

import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from galaxysd.cli import augment, data, dream, evaluate, search, vet, words  # noqa: F401 - they register themselves
from galaxysd.cli.shared import app
from galaxysd.errors import InputError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code."""
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        _fail(str(error), "; see galaxysd --help")
    except InputError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        print("galaxysd: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def _fail(message: str, hint: str = "") -> None:
    line = " ".join(message.split())
    print(f"galaxysd: {line.rstrip('.') if hint else line}{hint}", file=sys.stderr)
    sys.exit(2)
