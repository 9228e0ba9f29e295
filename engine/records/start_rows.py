"""Of how many rows a training reads activations at its start, beside those it keeps: known to the estimate too."""

# Of each side: what spaces are measured on; benign ones also for the null space.
STATISTICS_ROWS = 256
# Borderline ones, among which a harmful row's nearest is found in every step: so many tell what such answers look like.
NEIGHBOURS = 1024
