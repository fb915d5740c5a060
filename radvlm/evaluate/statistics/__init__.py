"""Intervals and tests over the scores of cases."""
