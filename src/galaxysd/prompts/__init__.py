"""What we ask for: answers and phrases, votes to caption, prompt to morphology and back."""

from galaxysd.prompts.arguments import as_prompts
from galaxysd.prompts.caption import asking_order, caption, caption_row, confident
from galaxysd.prompts.explain import Explanation, Statement, explain, render
from galaxysd.prompts.morphology import Morphology
from galaxysd.prompts.parse import parse
from galaxysd.prompts.vocabulary import PhraseBook, Vocabulary

__all__ = [
    "Explanation",
    "Morphology",
    "PhraseBook",
    "Statement",
    "Vocabulary",
    "as_prompts",
    "asking_order",
    "caption",
    "caption_row",
    "confident",
    "explain",
    "parse",
    "render",
]
