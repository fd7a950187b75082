"""Decision trees as data: which questions a survey asked, of whom, and which answers were possible.

A tree is a YAML file (`trees/*.yaml`, or one a user brings). Everything downstream - columns of a dataset, the
condition vector of a model, the words of a prompt - follows from it. Names are the ones of Willett et al. 2013 for
Galaxy Zoo 2.

A dataset has one column `<question>_<answer>` per answer: the fraction **conditional on the question having been
reached**, in [0, 1], or null where nobody was asked.
"""

from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from galaxysd.errors import InputError
from galaxysd.settings import FrozenModel

Key = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]

BUILT_IN = Path(__file__).parent / "trees"


class Question(FrozenModel):
    """One question (a "task" in Galaxy Zoo)."""

    key: Key = Field(description="column stem, e.g. t03_bar")
    text: str = Field(description="what the volunteers were asked")
    answers: tuple[Key, ...] = Field(min_length=2, description="answer keys, in column order")
    after: tuple[str, ...] = Field(
        default=(), description="answer columns that lead here, any of them; empty: asked of everyone"
    )
    well_sampled: tuple[float, float] | None = Field(
        default=None,
        description="cut on the last previous answer for N >= 10 and N >= 20 votes (Willett+2013 table 3)",
    )

    @property
    def columns(self) -> tuple[str, ...]:
        """Answer columns `<question>_<answer>`, in order."""
        return tuple(f"{self.key}_{answer}" for answer in self.answers)

    @property
    def votes(self) -> str:
        """Name of the column with the number of votes on this question."""
        return f"{self.key}_votes"


class DecisionTree(FrozenModel):
    """A survey's questions. Order is the order of columns; asking order follows from `after`."""

    name: Key
    version: int = Field(default=1, ge=1)
    citation: str = ""
    questions: tuple[Question, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _closed(self) -> Self:
        keys = [question.key for question in self.questions]
        if len(set(keys)) != len(keys):
            raise ValueError(f"question keys repeat: {sorted(k for k in set(keys) if keys.count(k) > 1)}")
        columns = [column for question in self.questions for column in question.columns]
        if len(set(columns)) != len(columns):
            raise ValueError("two answers share a column name")
        for question in self.questions:
            unknown = [parent for parent in question.after if parent not in columns]
            if unknown:
                raise ValueError(f"question {question.key}: 'after' names unknown answers {unknown}")
        for question in self.questions:
            self._refuse_cycle(question, ())
        return self

    def _refuse_cycle(self, question: Question, below: tuple[str, ...]) -> None:
        if question.key in below:
            raise ValueError(f"question {question.key} is asked after itself, by way of {' <- '.join(below)}")
        for parent in question.after:
            asked = next(other for other in self.questions if parent in other.columns)
            self._refuse_cycle(asked, (*below, question.key))

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """A built-in tree by name (`gz2`, `efigi`) or any YAML file by path.

        Raises:
            InputError: no such tree, or the file is not a valid tree.
        """
        built_in = BUILT_IN / f"{name_or_path}.yaml"
        if built_in.is_file():
            return cls.read(built_in)
        if not Path(name_or_path).is_file():
            names = sorted(path.stem for path in BUILT_IN.glob("*.yaml"))
            raise InputError(
                f"tree {str(name_or_path)!r}: neither a built-in tree ({', '.join(names)}) nor a YAML file"
            )
        return cls.read(name_or_path)

    @cached_property
    def by_key(self) -> dict[str, Question]:
        """Questions by key."""
        return {question.key: question for question in self.questions}

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """All answer columns, in order: the layout of a condition vector."""
        return tuple(column for question in self.questions for column in question.columns)

    @cached_property
    def question_of(self) -> dict[str, Question]:
        """The question each answer column belongs to."""
        return {column: question for question in self.questions for column in question.columns}

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where the answers of each question lie in `columns`, in the order of the questions."""
        ends = accumulate(len(question.columns) for question in self.questions)
        return tuple(
            slice(end - len(question.columns), end) for question, end in zip(self.questions, ends, strict=True)
        )

    @cached_property
    def question_index(self) -> tuple[int, ...]:
        """Number of the question that each answer column belongs to [A]."""
        return tuple(index for index, question in enumerate(self.questions) for _ in question.columns)

    def ancestors(self, key: str) -> tuple[str, ...]:
        """Answer columns on the way to question `key`, from the last previous answer upwards.

        Where several answers lead to a question, only the ones common to every way upwards are listed.
        """
        path: list[str] = []
        current = key
        while True:
            parents = next(question.after for question in self.questions if question.key == current)
            if len(parents) != 1:
                return tuple(path)
            path.append(parents[0])
            current = next(question.key for question in self.questions if parents[0] in question.columns)

    def union(self, other: "DecisionTree") -> "DecisionTree":
        """Both trees in one: equal questions are shared, all others are kept side by side.

        Raises:
            InputError: a question of the same key has other answers in the two trees.
        """
        if other.content_hash() == self.content_hash():
            return self
        for question in other.questions:
            mine = self.by_key.get(question.key)
            if mine is not None and mine.answers != question.answers:
                raise InputError(
                    f"trees {self.name!r} and {other.name!r}: question {question.key!r} has different answers in each"
                )
        new = tuple(question for question in other.questions if question.key not in self.by_key)
        return DecisionTree(
            name=f"{self.name}-{other.name}",
            citation="; ".join(text for text in (self.citation, other.citation) if text),
            questions=self.questions + new,
        )
