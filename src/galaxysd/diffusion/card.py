"""The model card: what a model was trained on, how well it does, where it must not be trusted."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from galaxysd.diffusion.folder import ModelRecord
from galaxysd.prompts.explain import THIN


def model_card(record: ModelRecord, name: str) -> str:
    """The card of a model as Markdown (template: card.md.jinja)."""
    template = (files("galaxysd.diffusion") / "card.md.jinja").read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return environment.from_string(template).render(
        record=record,
        name=name,
        stretches=_stretches(record.training),
        data=record.training.get("data", {}),
        withhold=record.training.get("recipe", {}).get("data", {}).get("withhold", ()),
        thin=THIN,
    )


def _stretches(training: dict[str, Any]) -> list[dict[str, Any]]:
    """The trainings that led to a model, the first one first."""
    found = []
    while training:
        found.append(training)
        training = (training.get("earlier") or {}).get("training", {})
    return found[::-1]
