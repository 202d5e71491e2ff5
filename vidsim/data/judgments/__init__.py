"""Judgments of people: one form, and one door for each kind of file they come in."""
