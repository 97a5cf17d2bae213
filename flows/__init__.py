"""What people run."""

from flows.output import outlive_reader

outlive_reader()
