"""The configuration: every choice of the protocol is a named option."""
