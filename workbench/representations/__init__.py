"""Parts of the page Representations: capture form, map, separation, movement, tokens."""
