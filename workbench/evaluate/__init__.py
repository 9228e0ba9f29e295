"""Parts of the page Evaluate: form, jobs, table, figures, samples, report."""
