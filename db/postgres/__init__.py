"""PostgreSQL itself: its programs, and the server that is started where none is named."""
