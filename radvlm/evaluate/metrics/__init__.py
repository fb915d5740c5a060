"""What is scored: one module a metric or a part that several metrics share."""
