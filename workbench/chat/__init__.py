"""Parts of the page Side by side: composer, columns, panes, doses, sets, transcripts."""
