"""What we ask for: answers and phrases, votes to caption, prompt to morphology and back."""

from galaxysd.prompts.arguments import as_prompts
from galaxysd.prompts.caption import asking_order, caption, caption_row, confident
from galaxysd.prompts.explain import Explanation, Statement, explain, notes, render
from galaxysd.prompts.frame import Picked, pick_survey
from galaxysd.prompts.glossary import Glossary, glossary, render_glossary
from galaxysd.prompts.morphology import Morphology
from galaxysd.prompts.parse import parse
from galaxysd.prompts.vocabulary import PhraseBook, Vocabulary

__all__ = [
    "Explanation",
    "Glossary",
    "Morphology",
    "PhraseBook",
    "Picked",
    "Statement",
    "Vocabulary",
    "as_prompts",
    "asking_order",
    "caption",
    "caption_row",
    "confident",
    "explain",
    "glossary",
    "notes",
    "parse",
    "pick_survey",
    "render",
    "render_glossary",
]
