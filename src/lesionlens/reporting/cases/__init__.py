"""Prototypes on a page: their tables, their pictures, and what each test patch looks like."""
