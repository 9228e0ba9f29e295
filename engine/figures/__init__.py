"""Figures and tables drawn from records, for pages and for files alike. The one room of the engine that draws."""
