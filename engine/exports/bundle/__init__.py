"""A run as one HTML file that plays it: what it holds, and the page that shows it."""
