"""Parts of the page Side by side: composer, columns, conversation, panes, doses, sets, transcripts. Tools uses them."""
