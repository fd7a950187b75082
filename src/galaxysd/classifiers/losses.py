"""What classifiers minimise: cross-entropy, focal loss, and the likelihood of vote counts.

All take the outputs of a network and give one number per galaxy [B], so that weights and masks stay outside.

Vote counts: Walmsley et al. 2022, arXiv 2102.08414, section 4: the votes for the answers of a question are a draw from
a Dirichlet-multinomial distribution, whose concentrations the network gives; one answer against the rest is a draw
from a beta-binomial distribution.
"""

import torch
from torch import Tensor
from torch.nn import functional

LEAST_CONCENTRATION, SPAN = 1.0, 100.0  # concentrations lie in [1, 101], as in Zoobot: none is ever certain


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy [B] of logits [B, K] with a distribution over the classes [B, K]."""
    return -(targets * functional.log_softmax(logits, dim=1)).sum(dim=1)


def focal(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Focal loss [B] (Lin et al. 2017, arXiv 1708.02002, eq. 4): -(1 - p)^gamma log p; gamma = 0 is cross-entropy."""
    logs = functional.log_softmax(logits, dim=1)
    missing = (-torch.expm1(logs)).clamp(min=1e-6)  # a power below one has no finite slope at zero
    return -(targets * missing.pow(gamma) * logs).sum(dim=1)


def concentrations(outputs: Tensor) -> Tensor:
    """Dirichlet concentrations of raw outputs, of any shape."""
    return LEAST_CONCENTRATION + SPAN * torch.sigmoid(outputs)


def dirichlet_multinomial(concentration: Tensor, counts: Tensor) -> Tensor:
    """Negative log-likelihood [B] of the votes for the A answers of one question.

    Args:
        concentration: [B, A].
        counts: votes [B, A]; weighted votes need not be integers.
    """
    total, votes = concentration.sum(dim=1), counts.sum(dim=1)
    ways = torch.lgamma(votes + 1) - torch.lgamma(counts + 1).sum(dim=1)
    each = torch.lgamma(concentration + counts) - torch.lgamma(concentration)
    return -(ways + torch.lgamma(total) - torch.lgamma(total + votes) + each.sum(dim=1))


def beta_binomial(concentration: Tensor, counts: Tensor) -> Tensor:
    """Negative log-likelihood [B] of each answer against the rest, summed over the answers of one question.

    The marginal of the Dirichlet-multinomial: for answers that people do not give in competition with each other, as
    the strengths of EFIGI, and as a check on the joint likelihood.

    Args:
        concentration: [B, A].
        counts: votes [B, A].
    """
    against = concentration.sum(dim=1, keepdim=True) - concentration
    rest = counts.sum(dim=1, keepdim=True) - counts
    pairs = (
        torch.stack([concentration, against], dim=-1).flatten(0, 1),
        torch.stack([counts, rest], dim=-1).flatten(0, 1),
    )
    return dirichlet_multinomial(*pairs).view(concentration.shape).sum(dim=1)


def expected_fractions(concentration: Tensor, fractions: Tensor) -> Tensor:
    """Cross-entropy [B] of the expected fractions with those of a survey that tells no counts, both [B, A]."""
    share = fractions / fractions.sum(dim=1, keepdim=True).clamp(min=1e-6)
    expected = concentration / concentration.sum(dim=1, keepdim=True)
    return -(share * expected.log()).sum(dim=1)
