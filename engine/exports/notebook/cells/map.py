# %% [markdown]
# # Map of a capture
#
# Reads captured activations of run RUN_ID out of its safetensors files, fits two principal components on the base
# model's and puts both models into that frame, as Representations does. It needs the workbench installed; the run is
# looked for in the runs folder of the workbench, or in the one that `WORKBENCH_RUNS` names.

# %%
from engine.records.captures.capture import BASE, TokenChoice, checkpoint_name, end_of, fullest, run_captures
from engine.records.runs import open_run
from engine.records.settings import read_settings

settings = read_settings()
kept = open_run(settings.runs, "RUN_ID").record().step
capture = fullest(run_captures(settings, "RUN_ID"), kept=kept)
assert capture is not None and capture.steps, "this run has captured no step"
tokens: TokenChoice = next((one for one in capture.index.tokens if one != "every"), "response_mean")
assert tokens in capture.index.tokens, "no capture of this run holds one vector a prompt: capture it so"
block = next((one for one in capture.index.targets if one in capture.index.blocks), capture.index.blocks[-1])
step = end_of(capture.steps, kept=kept)
print(f"block {block}, step {step}, {len(capture.index.prompts)} prompts")

# %% [markdown]
# The file itself, as any program can read it: a tensor for each block and choice of tokens, a row a prompt.

# %%
from safetensors.numpy import load_file

file = next(capture.folder.glob(f"{checkpoint_name(step)}.*.safetensors"))
{name: values.shape for name, values in sorted(load_file(file).items())[:6]}

# %% [markdown]
# Standardised by the base model's mean and deviation, since a few dimensions hold most of the energy; fitted on base
# alone: two independent fits cannot be compared.

# %%
from sklearn.decomposition import PCA

from engine.records.captures.projections import Projection

mean, deviation = capture.space(block)
deviation[deviation < 1e-6 * deviation.max()] = 1.0  # A dimension that never varies stays undivided.
checkpoints = (BASE, *map(checkpoint_name, capture.steps))
vectors = {name: (capture.vectors(name, tokens, block) - mean) / deviation for name in checkpoints}
fit = PCA(2, random_state=0).fit(vectors[BASE])
projection = Projection(
    points={name: fit.transform(values) for name, values in vectors.items()},
    figures={},
    explained=tuple(map(float, fit.explained_variance_ratio_)),
    axes=("component 1", "component 2"),
    notes=(),
)

# %%
from engine.records.captures.tables import map_ranges, map_table

table = map_table(capture, projection, checkpoint_name(step), tokens)
table.groupby("group")[["base_x", "base_y", "x", "y"]].mean()

# %%
from engine.figures.maps import axis_titles, two_maps

two_maps(
    table,
    axes=axis_titles(projection.axes, projection.explained),
    ranges=map_ranges(projection),
    titles=("Base", f"Circuit-broken, step {step}"),
)
