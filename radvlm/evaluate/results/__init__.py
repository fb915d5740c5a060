"""The result of an evaluation and the files it is written to."""
