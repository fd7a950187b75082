"""The model card: what a model was trained on, how well it does, where it must not be trusted."""

from galaxysd.diffusion.folder import ModelRecord

THIN = 100  # training galaxies below which an answer counts as thinly known

CITATIONS = (
    "Galaxy Zoo 2: Willett et al. 2013 (MNRAS 435, 2835), Hart et al. 2016 (MNRAS 461, 3663), Lintott et al. 2011 "
    "(MNRAS 410, 166). EFIGI: Baillard et al. 2011 (A&A 532, A74). Images: Sloan Digital Sky Survey. "
    "Idea: Ma et al. 2026 (ApJS 282, 25)."
)


def model_card(record: ModelRecord) -> str:
    """The card as Markdown."""
    training = record.training
    lines = ["# GalaxySD generator", ""]
    lines.append(
        f"A flow-matching U-Net for {record.surveys[0].size} px colour images of galaxies, conditioned on the answers of "
        f"decision tree `{record.tree.name}` ({len(record.tree.columns)} answers, {len(record.tree.questions)} questions) "
        f"and a survey token ({', '.join(f'`{survey.token}`' for survey in record.surveys)})."
    )
    if training:
        data = training["data"]
        per_survey = ", ".join(f"{name} {count:,}" for name, count in data["per_survey"].items())
        lines += [
            "",
            "## Training",
            "",
            f"- Galaxies: {data['galaxies']:,} of the `train` split ({per_survey}); `val` and `test` were never trained on.",
            f"- Withheld on purpose: {data['withheld']:,} galaxies that meet one of "
            + "; ".join(f"`{rule}`" for rule in training["recipe"]["data"]["withhold"])
            + "." if training["recipe"]["data"]["withhold"] else "- Nothing was withheld.",
            f"- Images seen: {training['images_seen']:,} in {training['hours']} hours, seed {training['recipe']['fit']['seed']}.",
            f"- Held-out loss: {training['held_out_loss']}.",
        ]
    lines += ["", "## Evidence", "", "Training galaxies with each answer above one half:", "", "| answer | galaxies |", "|---|---|"]
    for name in record.tree.columns:
        count = record.evidence.get(name, 0)
        note = " (never seen)" if count == 0 else " (thin)" if count < THIN else ""
        lines.append(f"| `{name}` | {count:,}{note} |")
    if record.scores:
        lines += ["", "## Scores", ""]
        lines += [f"- {name}: {value}" for name, value in record.scores.items()]
    lines += [
        "",
        "## Limits",
        "",
        "- Images are 8-bit composites without flux calibration; do no photometry on them.",
        "- Answers marked thin or never seen are extrapolation: look before you trust them.",
        "- Class rates of the training sets are not those of the sky.",
        "",
        "## Citations",
        "",
        CITATIONS,
        "",
    ]
    return "\n".join(lines)
