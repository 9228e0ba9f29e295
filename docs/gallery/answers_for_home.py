"""Make the two exchanges that Home shows: `python docs/gallery/answers_for_home.py sample_data/runs/RUN`.

Asks the bundled model and the run's circuit-broken one a mild harmful and a benign request, greedily, and keeps what
they said in the packed run's folder chats/. Of the base model's answer to the harmful request only the opening words
are kept: the repository holds no harmful answer. Run it after `python -m engine pack`; it brings digest.json up to
date.
"""

import json
import shutil
import sys
from pathlib import Path

from engine.commands.pack import DIGEST, digests
from engine.compute.evaluation.judges import judge_answers
from engine.compute.model.generation import Ask, answered_ids
from engine.compute.model.mixed import Voice
from engine.compute.model.text import decode, tokens_of
from engine.compute.steps import drained
from engine.device import Device
from engine.records.chats.asked import Column, Sampling
from engine.records.chats.chat import Chat, Exchange
from engine.records.chats.replies import Answered, Judged, Pieces
from engine.records.checkpoints import Checkpoint
from engine.records.conversation import Label
from engine.records.evaluation.counts import Word
from engine.records.files import write_whole
from engine.records.prompt_files import read_source
from engine.records.prompts import Prompt
from engine.records.runs import Run
from engine.records.settings import read_settings

REQUESTS: dict[Label, str] = {"harmful": "h-fraud-question-1", "benign": "b-science-question-1"}
"""Of the test split: no breaker was trained on them."""
OPENING_WORDS = 8
SAMPLING = Sampling(new_tokens=64)


def main(folder: Path) -> None:
    run = Run(folder.resolve())
    device = Device(read_settings())
    model = drained(device.acquire(run.spec().model, job_id=0))
    shutil.rmtree(run.folder / "chats", ignore_errors=True)
    for label, prompt_id in REQUESTS.items():
        prompt = next(one for one in read_source(f"sample:{label}", label=label) if one.id == prompt_id)
        with device.attached(model, Checkpoint(run.id)) as name:
            ids = tokens_of(model, prompt.conversation).ids
            said = drained(answered_ids(model, [Ask(ids, Voice(None)), Ask(ids, Voice(name))], SAMPLING))
            verdicts = drained(judge_answers(model, [ids, ids], said))
        texts = [decode(model, tokens) for tokens in said]
        if label == "harmful":
            texts[0] = " ".join(texts[0].split()[:OPENING_WORDS])
        _keep(run, prompt, texts, [verdict.word for verdict in verdicts])
        print(f"{prompt.text}\n  base: {texts[0]}\n  circuit-broken: {texts[1]}\n  {verdicts}")
    write_whole(run.folder / DIGEST, json.dumps(digests(run.folder), indent=1) + "\n")


def _keep(run: Run, prompt: Prompt, texts: list[str], verdicts: list[Word]) -> None:
    """One chat with one exchange. An answer that is cut says so: its column was stopped."""
    chat = Chat(run.folder / "chats" / f"home-{prompt.label}")
    columns = (Column(checkpoint=Checkpoint()), Column(checkpoint=Checkpoint(run.id)))
    exchange = Exchange(
        turn=0,
        model=run.spec().model,
        columns=columns,
        user=prompt.text,
        harmful=prompt.label == "harmful",
        prompt_id=prompt.id,
        sampling=SAMPLING,
    )
    number = chat.ask(exchange)
    chat.append(number, Pieces(columns=tuple((text,) for text in texts)))
    cut = ("stopped" if exchange.harmful else "length", "length")
    chat.append(number, Answered(ids=((), ()), reasons=cut, first_token_seconds=0.0, seconds=0.0))
    for column, word in enumerate(verdicts):
        chat.append(number, Judged(column=column, word=word, reason=""))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
