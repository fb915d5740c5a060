"""Neural networks that read a CT: encoders, fusion, decoder and the model that assembles them.

Unusual: importing this package imports nothing heavy. Its modules import torch at their top and are themselves
imported only when a model is asked for, so ``radvlm --help`` never loads torch. The package knows nothing of
radiology; vocabularies, sentences and prompts are data in ``radvlm.dataset``.
"""
