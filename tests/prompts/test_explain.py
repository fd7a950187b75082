"""Explanations: contradictions are shown, unsaid steps and thin labels named."""

import io

import numpy as np
import pytest
from rich.console import Console

from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError
from galaxysd.prompts import Explanation, Morphology, Vocabulary, explain, notes, parse, render

TREE = DecisionTree.load("gz2")
WORDS = Vocabulary.load(TREE, ["sdss", "hsc"])
SMOOTH = "t01_smooth_or_features_a01_smooth"


def test_prompt_is_explained_question_by_question() -> None:
    found = explain("sdss, {dusty:1.3}, early type", WORDS)
    assert found.caption == "sdss, smooth, {dust lane:1.3}"
    assert found.morphology == parse("sdss, smooth, {dust lane:1.3}", WORDS)
    assert found.survey is not None and "0.2 arcsec" in found.survey
    assert [(item.question, item.phrase, item.fraction, item.weight, item.seen) for item in found.statements] == [
        ("t01_smooth_or_features", "smooth", 1.0, 1.0, None),
        ("t08_odd_feature", "dust lane", 1.0, 1.3, None),
    ]
    assert found.statements[1].text == "Which odd feature is it?"
    assert found.contradictions == () and found.thin == ()
    assert found.assumed == ("something odd",)


@pytest.mark.parametrize(
    ("text", "contradictions", "assumed"),
    [
        (
            "smooth, 2 spiral arms",
            ("'2 spiral arms' is only asked after 'features or disk-shaped', but the prompt says 'smooth'",),
            ("spiral galaxy", "disk not edge-on"),
        ),
        (
            "no spiral arms, tightly wound",
            ("'tightly wound spiral arms' is only asked after 'spiral galaxy', but the prompt says 'no spiral arms'",),
            ("disk not edge-on", "features or disk-shaped"),
        ),
        (
            "edge-on disk, no bulge",
            ("'no bulge' is only asked after 'disk not edge-on', but the prompt says 'edge-on galaxy'",),
            (),
        ),
        (
            "nothing odd, merger",
            ("'merger' is only asked after 'something odd', but the prompt says 'nothing odd'",),
            (),
        ),
        (
            "2 arms, spiral, face-on disk, 4 arms",
            ("'2 spiral arms' + '4 spiral arms': 2 answers to one question, each gets the share 1/2",),
            (),
        ),
        ("smooth, disk, edge-on", ("'smooth' + 'features or disk-shaped': 2 answers to one question",), ()),
        ("smooth, completely round, nothing odd", (), ()),
        ("", (), ()),
    ],
)
def test_contradictions_and_unsaid_steps(text: str, contradictions: tuple[str, ...], assumed: tuple[str, ...]) -> None:
    found = explain(text, WORDS)
    assert len(found.contradictions) == len(contradictions)
    assert all(note.startswith(start) for note, start in zip(found.contradictions, contradictions, strict=True))
    assert found.assumed == assumed


def test_question_with_several_ways_is_denied_only_when_all_are() -> None:
    tree = DecisionTree.parse(
        {
            "name": "ways",
            "questions": [
                {"key": "kind", "text": "Kind?", "answers": ["disk", "irr", "ell"]},
                {"key": "clumps", "text": "Clumps?", "answers": ["yes", "no"], "after": ["kind_disk", "kind_irr"]},
            ],
        },
        "ways",
    )
    words = Vocabulary.load(tree, [])
    assert explain("kind irr, clumps yes", words).contradictions == ()
    assert explain("clumps yes", words).assumed == ("kind disk or kind irr",)
    assert explain("kind ell, clumps yes", words).contradictions == (
        "'clumps yes' is only asked after 'kind disk' or 'kind irr', but the prompt says 'kind ell'",
    )


def test_way_that_is_partly_unsaid_is_left_open() -> None:
    tree = DecisionTree.parse(
        {
            "name": "ways",
            "questions": [
                {"key": "kind", "text": "Kind?", "answers": ["disk", "ell"]},
                {"key": "odd", "text": "Odd?", "answers": ["yes", "no"]},
                {"key": "clumps", "text": "Clumps?", "answers": ["yes", "no"], "after": ["kind_disk", "odd_yes"]},
            ],
        },
        "ways",
    )
    found = explain("kind ell, clumps yes", Vocabulary.load(tree, []))
    assert found.contradictions == () and found.assumed == ("kind disk or odd yes",)


def test_thin_labels_are_named() -> None:
    columns = ("t11_arms_number_a32_2", "t11_arms_number_a31_1", "t08_odd_feature_a38_dust_lane")
    evidence = {SMOOTH: 100, columns[0]: 99, columns[1]: 1}
    found = explain("smooth, 2 arms, 1 arm, dust lane", WORDS, evidence)
    assert found.thin == (
        "'1 spiral arm' is thin: only 1 galaxy in training",
        "'2 spiral arms' is thin: only 99 galaxies in training",
        "'dust lane' was never seen in training: extrapolation",
    )
    assert {item.answer: item.seen for item in found.statements}[SMOOTH] == 100


SPIRAL, TWO = "t04_spiral_a08_spiral", "t11_arms_number_a32_2"
FRAMES = {"sdss": {SMOOTH: 900, SPIRAL: 40, TWO: 1}, "hsc": {SMOOTH: 100, SPIRAL: 700}}


def test_notes_are_the_remarks_of_an_explanation() -> None:
    text, evidence = "smooth, 2 arms", {SMOOTH: 500}
    found = explain(text, WORDS, evidence)
    assert notes(parse(text, WORDS), WORDS, evidence) == found.notes
    assert found.notes == (
        "frame not named: any of sdss, hsc",
        "contradiction: '2 spiral arms' is only asked after 'features or disk-shaped', but the prompt says 'smooth'",
        "training: '2 spiral arms' was never seen in training: extrapolation",
    )


def test_counts_of_numpy_are_counts() -> None:
    frames = {survey: {name: np.int64(n) for name, n in counts.items()} for survey, counts in FRAMES.items()}
    assert explain("spiral, 2 arms", WORDS, None, frames) == explain("spiral, 2 arms", WORDS, None, FRAMES)
    found = explain("spiral", WORDS, {SPIRAL: np.int64(5)})
    assert Explanation.model_validate_json(found.model_dump_json()) == found


def test_there_may_be_nothing_to_note() -> None:
    assert notes(parse("sdss, smooth", WORDS), WORDS, {SMOOTH: 500}) == ()
    assert notes(parse("sdss", WORDS), WORDS) == ()
    one_survey = Vocabulary.load(TREE, ["sdss"])
    assert notes(Morphology(), one_survey) == (), "there is no frame to choose"


def test_the_picked_frame_is_noted_and_what_is_thin_there() -> None:
    found = explain("smooth", WORDS, None, FRAMES)
    assert found.frame == "frame sdss: 900 training galaxies there for 'smooth'" and found.survey is None
    assert found.notes == (found.frame,)
    assert explain("spiral", WORDS, None, FRAMES).statements[0].seen == 740, "the sum over the frames"
    assert explain("sdss, spiral", WORDS, None, FRAMES).notes == (
        "training: 'spiral galaxy' is thin in frame sdss: only 40 galaxies there",
    )
    assert explain("hsc, 2 arms", WORDS, {TWO: 300}, FRAMES).thin == (
        "'2 spiral arms' was never seen in frame hsc: extrapolation",
    )
    assert explain("2 arms", WORDS, None, FRAMES).notes == (
        "frame sdss: 1 training galaxy there for '2 spiral arms'",
        "training: '2 spiral arms' is thin: only 1 galaxy in training",
    )


def test_votes_are_noted_by_their_largest_answers() -> None:
    votes = Morphology(survey="sdss", fractions=dict.fromkeys(TREE.by_key["t11_arms_number"].columns, 0.1))
    votes = votes.model_copy(update={"fractions": {**votes.fractions, TWO: 0.5}})
    assert notes(votes, WORDS, {TWO: 99}) == ("training: '2 spiral arms' is thin: only 99 galaxies in training",)


def test_bad_prompt_stays_an_input_error() -> None:
    with pytest.raises(InputError, match="xyzzy"):
        explain("xyzzy", WORDS)


def test_json_round_trip() -> None:
    found = explain("sdss, smooth, {2 spiral arms:1.3}", WORDS, {SMOOTH: 5})
    assert Explanation.model_validate_json(found.model_dump_json()) == found


def rendered(text: str, evidence: dict[str, int] | None = None) -> str:
    console = Console(file=io.StringIO(), width=160, color_system=None)
    console.print(render(explain(text, WORDS, evidence)))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_rendering_shows_everything() -> None:
    page = rendered("sdss, smooth, {2 spiral arms:1.3}", {SMOOTH: 12345})
    for text in ("sdss, smooth, {2 spiral arms:1.3}", "0.2 arcsec", "How many spiral arms are there?", "12,345", "1.3"):
        assert text in page
    assert "contradiction: '2 spiral arms'" in page
    assert "left open: spiral galaxy" in page
    assert "never seen in training" in page


def test_rendering_of_nothing() -> None:
    assert "unconditional" in rendered("") and "any survey" in rendered("")
    assert "hsc: no description" in rendered("hsc")
