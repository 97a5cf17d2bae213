"""A case-based model: a layer that compares every place of a block's output with prototypes, after Barnett et al. 2021.

    z = sigmoid(conv(relu(conv(A))))          1 x 1 convolutions of the output A of unit1
    d_j(h, w) = || z(:, h, w) - p_j ||        not squared
    s_j(h, w) = log((d_j + 1) / (d_j + 1e-4))
    g_j       = mean of the k highest s_j     k = 1: ProtoPNet (Chen et al. 2019)
    logits    = W g                           without bias

The layer stands where another classifier has its pooling, and W is its head.
"""

import torch
from torch import Tensor, nn

from lesionlens.config.training import PrototypeConfig
from lesionlens.models.classifier import Classifier

EPSILON = 1e-4
NOWHERE = -1
"""Source of a prototype that is no training sample's, before the first push."""


class Prototypes(nn.Module):
    """Output of unit1 [n, c, h, w] -> similarities [n, prototypes], 0 for pruned ones.

    vectors [prototypes, channels]. owners int64 [prototypes]: the class of each. sources int64 [prototypes, 3]: id of
    the training sample, row and column of the place that a prototype is; -1 before the first push. kept bool
    [prototypes]: not pruned.
    """

    owners: Tensor
    sources: Tensor
    kept: Tensor

    def __init__(self, width: int, classes: int, config: PrototypeConfig) -> None:
        super().__init__()
        channels, count = config.channels, classes * config.per_class
        self.topk = config.topk
        self.add_on = nn.Sequential(
            nn.Conv2d(width, channels, 1), nn.ReLU(), nn.Conv2d(channels, channels, 1), nn.Sigmoid()
        )
        self.vectors = nn.Parameter(torch.rand(count, channels))
        self.register_buffer("owners", torch.arange(count) // config.per_class)
        self.register_buffer("sources", torch.full((count, 3), NOWHERE))
        self.register_buffer("kept", torch.ones(count, dtype=torch.bool))

    def forward(self, features: Tensor) -> Tensor:
        return self.pooled(self.distances(features))

    def embedded(self, features: Tensor) -> Tensor:
        """z [n, channels, h, w] in (0, 1)."""
        found: Tensor = self.add_on(features)
        return found

    def distances(self, features: Tensor) -> Tensor:
        """d [n, prototypes, h, w] of the output of unit1."""
        z = self.embedded(features)
        n, channels, rows, columns = z.shape
        places = z.permute(0, 2, 3, 1).reshape(-1, channels).float()
        # by differences: a pushed prototype is at distance 0 from its source, not at a rounding error
        found = torch.cdist(places, self.vectors.float(), compute_mode="donot_use_mm_for_euclid_dist")
        return found.reshape(n, rows, columns, -1).permute(0, 3, 1, 2)

    def pooled(self, distances: Tensor) -> Tensor:
        """g [n, prototypes] of distances [n, prototypes, h, w]."""
        return nearest(similarity(distances), self.topk).mean(dim=2) * self.kept


def similarity(distances: Tensor) -> Tensor:
    """s, between 0 and log(1 + 1e4), of distances of any shape."""
    return torch.log((distances + 1) / (distances + EPSILON))


def nearest(values: Tensor, topk: float, largest: bool = True) -> Tensor:
    """The k highest (or lowest) values [n, prototypes, k] of [n, prototypes, h, w]; k: as `cells` says."""
    return values.flatten(2).topk(cells(topk, values.shape[2] * values.shape[3]), dim=2, largest=largest).values


def cells(topk: float, count: int) -> int:
    """How many of `count` places are averaged: one where `topk` is 1, else that proportion, at least one.

    >>> cells(0.046, 196), cells(0.046, 36), cells(1, 196)
    (9, 2, 1)
    """
    return 1 if topk == 1 else max(1, round(topk * count))


def with_prototypes(model: Classifier, classes: int, config: PrototypeConfig, seed: int) -> Classifier:
    """The network with prototypes, drawn by the seed, in the place of its pooling, and their weights as its head.

    A prototype counts +1 for its own class and -1 for every other. The global random state stays as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = Prototypes(model.head.in_features, classes, config)
    model.pool = layer
    model.head = nn.Linear(len(layer.vectors), classes, bias=False)
    own = layer_owners(model)[None, :] == torch.arange(classes)[:, None]
    with torch.no_grad():
        model.head.weight.copy_(torch.where(own, 1.0, -1.0))
    return model.eval()


def layer_of(model: Classifier) -> Prototypes:
    """The prototypes of a model that has them. TypeError for another."""
    if not isinstance(model.pool, Prototypes):
        raise TypeError(f"{model.backbone} has no prototypes")
    return model.pool


def layer_owners(model: Classifier) -> Tensor:
    """Class of every prototype, int64 [prototypes]."""
    return layer_of(model).owners
