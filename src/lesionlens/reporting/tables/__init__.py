"""Tables of a report: one specification gives HTML, CSV and LaTeX."""
