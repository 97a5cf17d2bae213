"""The record: PostgreSQL schema, engine, writing and reading."""
