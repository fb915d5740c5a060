"""Words that several steps share: numbers, names of structures, vocabulary, style."""
