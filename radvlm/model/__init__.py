"""Neural networks that read a CT, in families over one store.

    registry  which family loads what          store  folders of models, written whole and checked when read
    tiny/     findings and prose from an evidence table      tokens/  a model around any encoder that gives tokens
    merlin/   Merlin's published networks and files          decoder/ language models, what they are shown, prompts
    adapters/ encoders of others behind one interface        protocol what every model offers

No family imports another; the networks of Merlin reach ``tokens`` through ``adapters``. Importing this package imports
nothing heavy: its modules import torch at their top and are themselves imported only when a model is asked for, so
``radvlm --help`` never loads torch. The package knows nothing of radiology; vocabularies, sentences and prompts are
data in ``radvlm.dataset``.
"""
