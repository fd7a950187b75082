"""The verb of the vocabulary: words."""

from galaxysd.cli.shared import AsJson, Model, app, show


@app.command
def words(*, model: Model = "mini", as_json: AsJson = False) -> None:
    """List the words a model understands: each phrase, its question, and the training galaxies behind it."""
    from galaxysd.diffusion.pipeline import GalaxyPipeline
    from galaxysd.prompts.glossary import glossary, render_glossary

    pipeline = GalaxyPipeline.from_pretrained(model)
    found = glossary(pipeline.vocabulary, pipeline.record.evidence or None)
    if as_json:
        show(found.model_dump(mode="json"), True, "")
        return
    from rich.console import Console

    Console().print(render_glossary(found))
