"""Vocabulary: complete, without collisions, extensible by a user's tree and phrase file."""

from pathlib import Path

import pytest

from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError
from galaxysd.prompts import PhraseBook, Vocabulary, parse
from galaxysd.prompts.vocabulary import BUILT_IN, FILLERS, content_words, split_words

GZ2 = DecisionTree.load("gz2")
EFIGI = DecisionTree.load("efigi")
UNION = GZ2.union(EFIGI)
OWN = DecisionTree.parse(
    {
        "name": "own",
        "questions": [
            {"key": "ring_kind", "text": "Which ring?", "answers": ["double", "pseudo-ring"]},
            {"key": "galaxy", "text": "Fillers only?", "answers": ["a", "the"]},
            {"key": "t03_bar", "text": "Bar?", "answers": ["a06_bar", "a07_no_bar"]},
        ],
    },
    "own",
)


@pytest.mark.parametrize("tree", [GZ2, EFIGI, UNION], ids=lambda tree: tree.name)
def test_every_phrase_of_every_answer_is_read_as_that_answer(tree: DecisionTree) -> None:
    vocabulary = Vocabulary.load(tree, ["sdss", "efigi"])
    for column in tree.columns:
        assert vocabulary.phrases.answers[column][0] != column, "a built-in answer has no phrase of its own"
        for phrase in (*vocabulary.phrases.answers[column], column):
            morphology = parse(phrase, vocabulary)
            assert [name for name, share in morphology.fractions.items() if share] == [column], phrase


def test_built_in_phrase_files_name_only_answers_of_built_in_trees() -> None:
    for path in BUILT_IN.glob("*.yaml"):
        book = PhraseBook.read(path)
        assert set(book.answers) <= set(UNION.columns)
        assert len(book.answers) > 0 and len(book.surveys) > 0


def test_shared_questions_share_their_words_and_stage_has_its_own() -> None:
    gz2, efigi, union = (Vocabulary.load(tree, []) for tree in (GZ2, EFIGI, UNION))
    for column in set(GZ2.columns) & set(EFIGI.columns):
        assert gz2.phrases.answers[column] == efigi.phrases.answers[column] == union.phrases.answers[column]
    for phrase in ("elliptical galaxy", "early-type galaxy", "early type"):
        assert parse(phrase, gz2) == parse(phrase, efigi) == parse(phrase, union)
    assert parse("elliptical galaxy", union).fractions["t01_smooth_or_features_a01_smooth"] == 1.0
    assert parse("lenticular galaxy", union).fractions["stage_lenticular"] == 1.0
    assert parse("lenticular galaxy", gz2) == parse("disk, no spiral arms", gz2), "without stages: a disk without arms"


def test_compounds_that_a_tree_cannot_say_are_left_out() -> None:
    assert "edge-on galaxy without bulge" in Vocabulary.load(GZ2, []).phrases.compounds
    assert "edge-on galaxy without bulge" not in Vocabulary.load(EFIGI, []).phrases.compounds
    assert "edge-on disk" in Vocabulary.load(EFIGI, []).phrases.compounds


BOOKS = {path.stem: PhraseBook.read(path) for path in sorted(BUILT_IN.glob("*.yaml"))}


@pytest.mark.parametrize("book", BOOKS.values(), ids=BOOKS)
def test_a_phrase_file_gives_each_wording_once(book: PhraseBook) -> None:
    wordings = [*book.compounds, *(phrase for phrases in book.answers.values() for phrase in phrases)]
    seen: dict[tuple[str, ...], str] = {}
    for wording in wordings:
        words = content_words(wording)
        assert words not in seen, f"{wording!r} says the same as {seen[words]!r}"
        seen[words] = wording


def test_compounds_say_what_they_list_and_only_stages_take_wordings_away() -> None:
    vocabulary = Vocabulary.load(UNION, ["sdss"])
    for wording, parts in vocabulary.phrases.compounds.items():
        assert parse(wording, vocabulary) == parse(", ".join(parts), vocabulary), wording
    wordings = {wording for book in BOOKS.values() for wording in book.compounds}
    assert wordings - set(vocabulary.phrases.compounds) == {"S0", "lenticular", "lenticulars"}
    assert parse("S0", vocabulary).fractions["stage_lenticular"] == 1.0
    assert parse("SB0", vocabulary) == parse("S0, barred", vocabulary)


def test_related_words_are_unknown_ones_and_propose_phrases() -> None:
    vocabulary = Vocabulary.load(UNION, ["sdss"])
    for book in BOOKS.values():
        for words, phrases in book.related.items():
            assert content_words(words) not in vocabulary.meanings, f"{words!r} is a phrase and needs no proposal"
            assert phrases
            for phrase in phrases:
                assert content_words(phrase) in vocabulary.meanings, f"{words!r}: {phrase!r} is no phrase"
    assert vocabulary.related[("dwarf",)][0] == "dwarf elliptical"
    assert "dwarf elliptical" not in Vocabulary.load(GZ2, []).related[("dwarf",)], "this tree has no stages"


def test_surveys_are_several_tokens() -> None:
    with pytest.raises(InputError, match=r"expected several tokens, .* found the text 'sdss'"):
        Vocabulary.load(GZ2, "sdss")


def test_words_of_a_column_serve_where_no_file_has_a_phrase() -> None:
    vocabulary = Vocabulary.load(OWN, ["mine"])
    assert vocabulary.phrase("ring_kind_double") == "ring kind double"
    assert vocabulary.phrase("ring_kind_pseudo-ring") == "ring kind pseudo-ring"
    assert vocabulary.phrase("galaxy_a") == "galaxy_a"  # fillers only, so the column itself
    assert vocabulary.phrase("t03_bar_a07_no_bar") == "no bar"
    assert parse("mine, ring kind pseudo ring, galaxy_the, barred", vocabulary).fractions == {
        "ring_kind_double": 0.0,
        "ring_kind_pseudo-ring": 1.0,
        "galaxy_a": 0.0,
        "galaxy_the": 1.0,
        "t03_bar_a06_bar": 1.0,
        "t03_bar_a07_no_bar": 0.0,
    }


def test_survey_descriptions_travel_with_the_tokens() -> None:
    vocabulary = Vocabulary.load(UNION, ["sdss", "sdss-r90", "efigi", "toy", "hsc"])
    assert set(vocabulary.phrases.surveys) == {"sdss", "sdss-r90", "efigi", "toy"}
    assert parse("SDSS-R90", vocabulary).survey == "sdss-r90"
    assert parse("hsc", vocabulary).survey == "hsc"


def test_json_round_trip() -> None:
    vocabulary = Vocabulary.load(UNION, ["sdss"])
    assert Vocabulary.model_validate_json(vocabulary.model_dump_json()) == vocabulary


def test_words_ignore_case_hyphens_fillers_but_keep_columns_whole() -> None:
    assert content_words("The  Edge\u2013ON\u00a0galaxy with a bulge") == ("edge", "on", "bulge")
    assert split_words("pseudo-ring ring_kind_pseudo-ring") == ("pseudo", "ring", "ring_kind_pseudo-ring")
    assert not FILLERS & {"no", "not", "without", "or"}, "a negation must never be ignored"


def test_case_counts_in_hubble_types_with_a_family_only() -> None:
    assert split_words("SBc Sbc sbc SBC sBa SAB Sab") == ("SBc", "sbc", "sbc", "sbc", "SBa", "SAB", "sab")
    assert split_words("SABc sabc SAbc Saab SB0 sb0") == ("SABc", "SABc", "SAbc", "SAab", "SB0", "SB0")
    assert split_words("SBx_y SBcd-like Sbb2") == ("sbx_y", "SBcd", "like", "sbb2")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_user_phrases_come_first_and_the_built_in_ones_stay(tmp_path: Path) -> None:
    extra = write(
        tmp_path / "mine.yaml",
        "answers:\n  t03_bar_a06_bar: [balkenspirale]\ncompounds:\n  starfish: [spiral galaxy, 4 arms]\n"
        "surveys:\n  hsc: Hyper Suprime-Cam\n",
    )
    vocabulary = Vocabulary.load(GZ2, ["hsc"], extra)
    assert vocabulary.phrase("t03_bar_a06_bar") == "balkenspirale"
    assert parse("hsc, Balkenspirale", vocabulary) == parse("hsc, barred", vocabulary)
    assert parse("starfish", vocabulary) == parse("spiral, 4 spiral arms", vocabulary)
    assert vocabulary.phrases.surveys == {"hsc": "Hyper Suprime-Cam"}


def test_a_user_may_give_a_built_in_wording_another_meaning(tmp_path: Path) -> None:
    text = (
        "answers: {t11_arms_number_a34_4: [grand design]}\ncompounds: {Sa: [merger, bar]}\nrelated: {red: [dust lane]}"
    )
    vocabulary = Vocabulary.load(GZ2, [], write(tmp_path / "mine.yaml", text))
    assert parse("grand design", vocabulary) == parse("4 arms", vocabulary)
    assert parse("Sa", vocabulary) == parse("merger, bar", vocabulary)
    with pytest.raises(InputError, match=r"unknown word 'red' in 'red'; nearest known: dust lane$"):
        parse("red", vocabulary)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("answers: {t03_bar_a99: [x]}", "'t03_bar_a99' is not an answer of tree 'gz2'"),
        ("answers: {t03_bar_a06_bar: [the dust lane]}", "'dust lane': has two meanings|'the dust lane': has two"),
        ("answers: {t03_bar_a06_bar: ['{bar']}", "no brace, comma, colon"),
        ("answers: {t03_bar_a06_bar: ['bar, barred']}", "no brace, comma, colon"),
        ("answers: {t03_bar_a06_bar: ['bar; barred']}", "no brace, comma, colon, semicolon"),
        ("related: {red: smooth}", "related.red"),
        ('answers: {t03_bar_a06_bar: ["bar\\u200b"]}', "control character"),
        ("answers: {t03_bar_a06_bar: [the galaxy]}", "must hold a word"),
        ("answers: {t03_bar_a06_bar: [sdss]}", "two meanings"),
        ("answers: {t03_bar_a06_bar: bar}", "answers.t03_bar_a06_bar"),
        ("compounds: {starfish: [spiral galaxy, starry]}", "'starry' is not a phrase of an answer"),
        ("compounds: {starfish: [2 arms, 4 arms]}", "different questions"),
        ("compounds: {starfish: []}", "different questions"),
        ("compounds: {dust lane: [spiral galaxy]}", "two meanings"),
        ("words: {}", "words"),
        ("- a list", "expected a YAML mapping"),
    ],
)
def test_bad_phrase_files_are_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    extra = write(tmp_path / "mine.yaml", text)
    with pytest.raises(InputError, match=said) as error:
        Vocabulary.load(GZ2, ["sdss"], extra)
    assert "mine.yaml" in str(error.value) and "\n" not in str(error.value)


def test_survey_token_must_not_be_a_phrase() -> None:
    with pytest.raises(InputError, match="'merger': has two meanings"):
        Vocabulary.load(GZ2, ["merger"])


def test_hand_made_vocabulary_must_name_every_answer_of_the_tree_and_no_other() -> None:
    complete = {column: (f"say {number}",) for number, column in enumerate(OWN.columns)}
    Vocabulary(tree=OWN, surveys=(), phrases=PhraseBook(answers=complete))
    with pytest.raises(InputError, match="'galaxy_a' has none"):
        rest = {column: phrases for column, phrases in complete.items() if column != "galaxy_a"}
        Vocabulary(tree=OWN, surveys=(), phrases=PhraseBook(answers=rest))
    with pytest.raises(InputError, match="no such answer"):
        Vocabulary(tree=OWN, surveys=(), phrases=PhraseBook(answers={**complete, "x_y": ("z",)}))
