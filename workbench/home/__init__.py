"""Parts of the page Home: the film, a pair of answers, the matrix in one line, doors, what runs now."""
