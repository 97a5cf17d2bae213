"""Charts of the report: small functions from frames to matplotlib figures, written as SVG."""
