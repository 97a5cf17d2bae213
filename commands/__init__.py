"""The command `lesionlens`: a command is a function here and a line in `__main__.COMMANDS`."""
