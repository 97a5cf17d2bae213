"""Push and prune: prototypes become places of training samples, and those that are not of their class's kind go.

Both read training samples alone, as they are, in evaluation mode. `outputs` gives what unit1 makes of samples.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lesionlens.config.training import PrototypeConfig
from lesionlens.models.classifier import Classifier
from lesionlens.models.prototypes import layer_of, nearest
from lesionlens.records import SampleArrays
from lesionlens.training.inputs import Source

BATCH = 32  # fixed: rounding depends on it, and what is nearest may depend on rounding


@torch.no_grad()
def push(model: Classifier, samples: SampleArrays, outputs: Source, rows: Sequence[int]) -> None:
    """Every prototype becomes a near place of its own class's samples at these positions, which it remembers.

    Prototypes of a class are places of different samples, while there are enough: the nearest pair of prototype and
    sample first, then the nearest of those left. Barnett et al. take each prototype's nearest sample, which may be that
    of others, too. Of equal distances that of the lowest prototype, sample, row and column. outputs: of unit1. Raises
    ValueError where a class has no sample.
    """
    layer, labels = layer_of(model.eval()), torch.from_numpy(samples.labels)[list(rows)]
    owners = layer.owners.cpu()
    nearest_places = [layer.distances(features).flatten(2).min(dim=2) for _, features in _batches(outputs, rows)]
    least = torch.cat([found.values for found in nearest_places]).T.cpu()
    cells = torch.cat([found.indices for found in nearest_places]).T.cpu()
    chosen = torch.full((len(owners),), -1)
    for label in sorted(set(owners.tolist())):
        members, own = torch.nonzero(owners == label).flatten(), torch.nonzero(labels == label).flatten()
        if not len(own):
            raise ValueError(f"class {samples.classes[label]} has no training sample that could be a prototype")
        chosen[members] = own[_different(least[members][:, own])]
    vectors, start = layer.vectors.detach().clone(), 0
    for batch, features in _batches(outputs, rows):
        z = layer.embedded(features)
        for j in torch.nonzero((chosen >= start) & (chosen < start + len(batch))).flatten().tolist():
            at, place = int(chosen[j]), int(cells[j, chosen[j]])
            row, column = divmod(place, z.shape[3])
            vectors[j] = z[at - start, :, row, column]
            layer.sources[j] = torch.tensor([int(samples.ids[int(batch[at - start])]), row, column])
        start += len(batch)
    layer.vectors.copy_(vectors)


def _different(distances: Tensor) -> Tensor:
    """A sample for each of p prototypes at distances [p, n], int64 [p]: none twice unless there are fewer than p."""
    p, n = distances.shape
    chosen = torch.full((p,), -1)
    free = torch.ones(n, dtype=torch.bool)
    for pair in distances.flatten().argsort(stable=True).tolist():
        j, sample = divmod(pair, n)
        if chosen[j] < 0 and (free[sample] or not free.any()):
            chosen[j], free[sample] = sample, False
    return chosen


@torch.no_grad()
def prune(
    model: Classifier, samples: SampleArrays, outputs: Source, rows: Sequence[int], config: PrototypeConfig
) -> None:
    """Drop prototypes of whose `prune[0]` nearest samples fewer than `prune[1]` are of their class.

    The best of a class stays where all of it would go: a class without a prototype could never be predicted.
    """
    layer = layer_of(model.eval())
    _, near = neighbours(model, outputs, rows, config.prune[0])
    owners = layer.owners.cpu()
    own = (torch.from_numpy(samples.labels)[near] == owners[:, None]).sum(dim=1)
    kept = own >= config.prune[1]
    for label in sorted(set(owners.tolist())):
        of_class = torch.nonzero(owners == label).flatten()
        if not kept[of_class].any():
            kept[of_class[own[of_class].argmax()]] = True
    layer.kept.copy_(kept)


@torch.no_grad()
def neighbours(model: Classifier, outputs: Source, rows: Sequence[int], count: int) -> tuple[Tensor, Tensor]:
    """Distances float32 and positions int64 [prototypes, count] of the samples nearest to every prototype.

    A sample's distance is that of its nearest places, averaged as similarities are; of equal ones the lowest first.
    """
    layer = layer_of(model.eval())
    found = [
        nearest(layer.distances(f), layer.topk, largest=False).mean(dim=2).cpu() for _, f in _batches(outputs, rows)
    ]
    distances, order = torch.cat(found).T.sort(dim=1, stable=True)
    return distances[:, :count], torch.tensor(list(rows))[order[:, :count]]


def _batches(outputs: Source, rows: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Positions of a batch's samples, and the output of unit1 for them."""
    for batch in torch.split(torch.tensor(list(rows)), BATCH):
        yield batch, outputs(batch)
