"""The notebooks' cells, a file a view: none is imported. '# %%' begins a cell, '# %% [markdown]' one of text."""
