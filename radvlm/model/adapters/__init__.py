"""Encoders of others behind one interface: Merlin's, MONAI's and open_clip's for images, any of transformers for text.

This is the only folder that imports the networks of another family, so that no family imports another.
"""
