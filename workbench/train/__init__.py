"""Parts of the page Train: fields, draft, checks, pickers, figures, start."""
