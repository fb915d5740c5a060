"""The writing half: any causal language model, what it is shown of a scan, and how it writes."""
