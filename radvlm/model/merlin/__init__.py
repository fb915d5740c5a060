"""Merlin's published networks and files, drop-in compatible: image and text encoders, report model, loading.

Importing this package imports nothing; its modules import torch.
"""
