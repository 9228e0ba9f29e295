"""What more than one page uses: frame, names of session and URL state, words, colours, drawing, waiting."""
