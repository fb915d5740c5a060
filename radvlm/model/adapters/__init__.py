"""Encoders of others behind one interface."""
