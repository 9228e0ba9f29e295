# %% [markdown]
# # Curves of a run
#
# Reads the events of run RUN_ID as the workbench's page does, and draws its figures. It needs the workbench installed;
# the run is looked for in the runs folder of the workbench, or in the one that `WORKBENCH_RUNS` names.

# %%
from engine.records.events import effective
from engine.records.runs import open_run
from engine.records.settings import read_settings
from engine.records.tables import run_tables

run = open_run(read_settings().runs, "RUN_ID")
events, _ = run.events()
kept = effective(events)
tables = run_tables(kept)
print(run.name, run.record().status, f"{len(tables.steps)} steps")

# %% [markdown]
# One row an optimizer step, and one a held-out measurement and block: tables of pandas.

# %%
tables.steps.tail()

# %%
tables.heldout.pivot_table(index="step", columns=["split", "block"], values="cosine")

# %%
from engine.figures.curves import run_figures

figures = run_figures(tables, [event for event in kept if event.kind == "control"])
figures["losses"]

# %%
figures["cosine"]

# %%
figures["drift"]

# %%
figures["weights"]

# %%
figures["gradient"]
