# %% [markdown]
# # Does it hold?
#
# Reads the evaluations of run RUN_ID: attack by model with 95 % Wilson intervals, what is kept, and the front. It needs
# the workbench installed; the run is looked for in the runs folder of the workbench, or in the one that
# `WORKBENCH_RUNS` names.

# %%
from engine.records.evaluation.final import is_final
from engine.records.evaluation.findings import read_evaluations
from engine.records.runs import open_run
from engine.records.settings import read_settings

run = open_run(read_settings().runs, "RUN_ID")
# Without those of weights that a resume has trained on.
found = read_evaluations(run, read_settings())
evaluations = [one for one in found if "@" in one.run or is_final(one, run.record())]
assert evaluations, "this run was not evaluated"
names = [f"{run.name}, {one.key}" for one in evaluations]

# %%
import pandas as pd

pd.DataFrame(
    [
        {"evaluation": name, "attack": attack, "model": side, **getattr(result, side).model_dump(exclude={"ci95"})}
        for name, one in zip(names, evaluations, strict=True)
        for attack, result in one.attacks.items()
        for side in ("base", "rerouted")
    ]
)

# %%
from IPython.display import HTML

from engine.figures.evaluation.agents import agents_html
from engine.figures.evaluation.findings import asked_text
from engine.figures.evaluation.others import others_html
from engine.figures.evaluation.pictures import pictures_html
from engine.figures.evaluation.table import (
    STYLE,
    abilities_html,
    attacks_html,
    columns,
    columns_without_text,
    key_html,
)

asked = [(one, name) for one, name in zip(evaluations, names, strict=True) if asked_text(one)]
shown = columns([one for one, _ in asked], [name for _, name in asked])
of_texts = attacks_html(shown) + abilities_html(shown) if shown else ""
kept = abilities_html(columns_without_text(evaluations, names))
asked_apart = "".join(html(evaluations, names) for html in (agents_html, pictures_html, others_html))
HTML(f"<style>{STYLE}</style>{key_html()}{of_texts}{kept}{asked_apart}")

# %%
from engine.figures.evaluation.drawn import evaluation_figures

for figure in evaluation_figures((evaluations, names)):
    figure.show()
