"""The model card: what a model was trained on, how well it does, where it must not be trusted."""

from importlib.resources import files

from galaxysd.catalog.labels import read_arm_labels
from galaxysd.diffusion.folder import ModelRecord
from galaxysd.prompts.explain import THIN


def model_card(record: ModelRecord, name: str) -> str:
    """The card of a model as Markdown (template: card.md.jinja)."""
    from jinja2 import Environment, StrictUndefined

    template = (files("galaxysd.diffusion") / "card.md.jinja").read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    stages = record.training
    generator = stages.get("generator", {}).get("recipe", {}).get("data", {})
    return environment.from_string(template).render(
        record=record,
        name=name,
        stages=stages,
        withhold=generator.get("withhold", ()),
        arms=len(read_arm_labels()) if generator.get("arm_labels") else 0,
        thin=THIN,
    )
