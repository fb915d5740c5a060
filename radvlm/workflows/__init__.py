"""The only place that puts steps together: one module a thing that a user asks for."""
