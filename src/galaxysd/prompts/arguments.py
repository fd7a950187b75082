"""Prompts as a program hands them over: one or many, as text or morphologies, of whatever type they turn out to be.

In: anything. Out: a list of prompts, or one line that says which of them is no prompt.
"""

from collections.abc import Iterable

from galaxysd.errors import InputError
from galaxysd.prompts.morphology import Morphology


def as_prompts(given: object) -> list[str | Morphology]:
    """One prompt or several as a list.

    Args:
        given: a text, a `Morphology`, or several of them in a list, tuple, array, column or other iterable.

    Returns:
        The prompts in their order, at least one; texts of numpy and the like as plain `str`.

    Raises:
        InputError: there is none, or something in it is neither text nor a morphology; items are counted from 1.

    Example:
        >>> as_prompts("spiral galaxy")
        ['spiral galaxy']
        >>> as_prompts(["galaxy", 3])
        Traceback (most recent call last):
        galaxysd.errors.InputError: prompt 2 of 2: expected text or a Morphology, not the int 3
    """
    if isinstance(given, str | Morphology):
        return [_plain(given)]
    if (
        not isinstance(given, Iterable)
        or isinstance(given, bytes | bytearray | dict)
        or getattr(given, "ndim", 1) == 0  # an array of no dimension is one value
    ):
        raise InputError(f"prompts: expected text, a Morphology or a list of them, not {described(given)}")
    items = list(given)
    if not items:
        raise InputError("prompts: the list is empty; give at least one, '' for any galaxy")
    prompts: list[str | Morphology] = []
    for number, item in enumerate(items, start=1):
        if not isinstance(item, str | Morphology):
            raise InputError(f"prompt {number} of {len(items)}: expected text or a Morphology, not {described(item)}")
        prompts.append(_plain(item))
    return prompts


def described(value: object) -> str:
    """A value in an error message, short and in one line: "None", "the int 3", "a dict"."""
    if value is None:
        return "None"
    kind = type(value).__name__
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**64):  # longer ones fill the line
        return f"the {kind} {value}"
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _plain(prompt: str | Morphology) -> str | Morphology:
    return str(prompt) if isinstance(prompt, str) else prompt
