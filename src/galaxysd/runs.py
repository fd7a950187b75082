"""A run folder: what was asked, with which versions, how it went, and whether it is done.

    RUN/settings.yaml   the resolved settings: the identity of the run
    RUN/versions.json   software and machine
    RUN/metrics.jsonl   one JSON object a line, in the order of work
    RUN/done.json       written last; its presence means the run is finished

The same command again resumes; other settings in the same folder are refused.
"""

import json
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import galaxysd
from galaxysd.errors import InputError
from galaxysd.io import write_atomically
from galaxysd.settings import FrozenModel

LIBRARIES = ("torch", "diffusers", "accelerate", "numpy", "polars", "pyarrow", "pillow", "safetensors")


def versions() -> dict[str, str]:
    """Versions of GalaxySD and of what its numbers depend on, and the kind of machine."""
    found = {"galaxysd": galaxysd.__version__, "python": platform.python_version(), "machine": platform.machine()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


class Run:
    """A run folder that is open for work."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open(cls, folder: str | Path, settings: FrozenModel) -> Self:
        """Create the folder, or resume one that was created with the same settings.

        Raises:
            InputError: the folder holds something else, or a run with other settings.
        """
        folder = Path(folder)
        identity = folder / "settings.yaml"
        if identity.is_file():
            earlier = type(settings).read(identity)
            if earlier.content_hash() != settings.content_hash():
                before, now = earlier.model_dump(mode="json"), settings.model_dump(mode="json")
                keys = ", ".join(sorted(key for key in now if before[key] != now[key]))
                raise InputError(f"{folder}: holds a run with other settings ({keys}); choose another folder")
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder}: exists and is not a run of this kind; choose another folder")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / "versions.json", json.dumps(versions(), indent=2) + "\n")
            settings.write(folder / "settings.yaml.tmp")
            (folder / "settings.yaml.tmp").replace(identity)
        return cls(folder)

    @property
    def metrics_file(self) -> Path:
        """The file of measurements."""
        return self.folder / "metrics.jsonl"

    def log(self, **values: Any) -> None:
        """Append one line to the metrics, with the time in seconds since 1970."""
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**values, "time": round(time.time(), 3)}) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """All lines of the metrics; a line cut short by a crash is left out."""
        if not self.metrics_file.is_file():
            return []
        lines = []
        for line in self.metrics_file.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return lines

    def rewind(self, key: str, value: int) -> None:
        """Forget the metrics beyond `key` > `value`: work that a resumed run will do again."""
        kept = [line for line in self.metrics() if line.get(key, 0) <= value]
        write_atomically(self.metrics_file, "".join(json.dumps(line) + "\n" for line in kept))

    @property
    def summary(self) -> dict[str, Any] | None:
        """What `finish` wrote, or None while the run is not done."""
        path = self.folder / "done.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def finish(self, summary: dict[str, Any]) -> None:
        """Mark the run as done."""
        write_atomically(self.folder / "done.json", json.dumps(summary, indent=2) + "\n")
