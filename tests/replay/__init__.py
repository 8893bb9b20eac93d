"""Journals, exported and run through the tables again."""
