"""Frozen, closed objects: the base of every configuration, record and result in GalaxySD.

A settings object is validated once, never changes, refuses unknown keys, is read from and written to YAML, and has a
content hash, so that a run can say exactly what it was asked to do.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from galaxysd.errors import InputError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class _Loader(yaml.SafeLoader):
    """YAML in which a key given twice is an error, where PyYAML silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"{key.value!r} is there twice"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _problem(item: "ErrorDetails") -> str:
    """One validation problem: where, what, and the offending value where it is short."""
    where = ".".join(str(part) for part in item["loc"]) or "settings"
    value = item["input"]
    found = f", not {value!r}" if isinstance(value, str | int | float) and len(str(value)) <= 40 else ""
    return f"{where}: {item['msg']}{found}"


class FrozenModel(BaseModel):
    """Base of settings, records and results: frozen, closed (unknown keys are errors), hashable by content."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def parse(cls, values: dict[str, Any], source: str) -> Self:
        """Validate `values`; a failure names `source`, the key and what would be right.

        Raises:
            InputError: a key is unknown, missing or has a wrong value.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InputError(f"{source}: {'; '.join(_problem(item) for item in error.errors())}") from None

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read settings from a YAML file.

        Raises:
            InputError: the file is missing, is not YAML, or does not fit the model.
        """
        path = Path(path)
        try:
            values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: is not valid YAML ({' '.join(str(error).split())})") from None
        if not isinstance(values, dict):
            raise InputError(f"{path}: expected a YAML mapping of settings, found {type(values).__name__}")
        return cls.parse(values, str(path))

    def overridden(self, overrides: Sequence[str]) -> Self:
        """These settings with some replaced by `key.path=value`; values are YAML.

        Raises:
            InputError: an override that does not fit.
        """
        values = self.model_dump()
        for override in overrides:
            key, equals, text = override.partition("=")
            place: Any = values
            *parents, last = key.split(".")
            for parent in parents:
                place = place.get(parent) if isinstance(place, dict) else None
            if not equals or not isinstance(place, dict) or last not in place:
                raise InputError(
                    f"setting {override!r}: expected key=value with a key of the recipe, e.g. fit.batch=64"
                )
            try:
                place[last] = yaml.safe_load(text)
            except yaml.YAMLError:
                raise InputError(f"setting {override!r}: the value is not valid YAML") from None
        return self.parse(values, "settings")

    def write(self, path: str | Path) -> None:
        """Write the settings as YAML, keys in their declared order."""
        text = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
        Path(path).write_text(text, encoding="utf-8")

    def content_hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON form."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class Settings(FrozenModel):
    """Base of what a user chooses."""


class RecipeSettings(Settings):
    """Settings of a training, of which some are built in."""

    folder: ClassVar[Path]  # of the built-in ones, `<name>.yaml`

    @classmethod
    def load(cls, name_or_path: str | Path, overrides: Sequence[str] = ()) -> Self:
        """A built-in recipe by name or one of a YAML file, with `key.path=value` overrides.

        Args:
            name_or_path: a built-in name or a file.
            overrides: values are YAML.

        Raises:
            InputError: no such recipe, or an override that does not fit.
        """
        path = cls.folder / f"{name_or_path}.yaml"
        path = path if path.is_file() else Path(name_or_path)
        if not path.is_file():
            names = ", ".join(sorted(file.stem for file in cls.folder.glob("*.yaml")))
            raise InputError(f"recipe {str(name_or_path)!r}: neither a built-in recipe ({names}) nor a YAML file")
        return cls.read(path).overridden(overrides)
