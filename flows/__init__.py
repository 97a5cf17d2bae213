"""What people run."""

from flows.output import outlive_reader, shorten_errors

outlive_reader()
shorten_errors()
