"""A model around any encoder that gives tokens: what `radvlm train` with `kind: tokens` makes."""
