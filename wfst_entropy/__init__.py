"""Speech recognition with weighted finite-state graphs and the entropy of their alignments.

>>> import torch, wfst_entropy
>>> log_probs = torch.zeros(1, 4, 3).log_softmax(-1)
>>> out = wfst_entropy.ctc_alignment(
...     log_probs, torch.tensor([[1, 2]]), torch.tensor([4]), torch.tensor([2])
... )
>>> round(float(out.nll), 4), round(float(out.entropy), 4)
(1.6864, 2.7081)
"""

import lazy_loader

__version__ = "0.1.0"

# Nothing is imported before it is used, so that `wfst-entropy --help` need not wait for torch.
# Names are added to __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
