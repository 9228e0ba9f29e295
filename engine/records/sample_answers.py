"""A few of the base model's answers while a run generates them: for its page to show until there are curves.

They lie in the run's folder for so long alone: neither in its events nor in its log, and no packed run has them.
"""

from contextlib import suppress

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from engine.records.conversation import Label
from engine.records.errors import RunError
from engine.records.files import write_whole
from engine.records.runs import Run

FILE = "sample_answers.json"
EACH_SIDE = 2


class SampleAnswer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    label: Label
    prompt: str
    answer: str


_answers: TypeAdapter[list[SampleAnswer]] = TypeAdapter(list[SampleAnswer])


class SampleAnswers:
    """Keeps the newest few of each label."""

    def __init__(self, run: Run) -> None:
        self.file = run.folder / FILE
        self.kept: list[SampleAnswer] = []

    def take(self, answers: list[SampleAnswer]) -> None:
        """The given ones first, then those before them; of each label at most EACH_SIDE, and a prompt once."""
        both = {(one.label, one.prompt): one for one in [*reversed(self.kept), *reversed(answers)]}
        # A prompt that was shown before keeps its first place in a dict: the given ones are put behind it anew.
        for one in reversed(answers):
            both[one.label, one.prompt] = both.pop((one.label, one.prompt))
        newest = list(reversed(both.values()))
        self.kept = [
            one for label in ("harmful", "benign") for one in [one for one in newest if one.label == label][:EACH_SIDE]
        ]
        # What only passes the time must not end a run, on a full disk for instance.
        with suppress(RunError):
            write_whole(self.file, _answers.dump_json(self.kept).decode())

    def forget(self) -> None:
        self.kept = []
        with suppress(OSError):
            self.file.unlink(missing_ok=True)


def sample_answers(run: Run) -> list[SampleAnswer]:
    """Those there are; none before the first answers and after training has begun."""
    try:
        return _answers.validate_json((run.folder / FILE).read_bytes())
    except (OSError, ValidationError):
        return []
