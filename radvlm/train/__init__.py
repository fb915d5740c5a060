"""Training: voxel supervision, contrastive with findings, language model, instruction tuning.

``radvlm.training.train_model`` is the entry; it makes the corpora that ``radvlm.train.run`` learns from.
"""
