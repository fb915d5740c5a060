"""The model that ships: a small 3D pyramid, evidence tokens and a small decoder."""
