"""Training: voxel supervision, contrastive with findings, language model, instruction tuning.

``radvlm.workflows.train_model.train_model`` is the entry; it makes the corpora that ``radvlm.train.tiny_run`` learns
from.
"""
