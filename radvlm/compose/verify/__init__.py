"""Proof that a sentence says nothing but what its cited findings say."""
