"""Push and prune: prototypes become places of training samples, and those that are not of their class's kind go.

Both read training samples alone, as they are, in evaluation mode.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lesionlens.config.training import PrototypeConfig
from lesionlens.models.classifier import Classifier
from lesionlens.models.prototypes import layer_of, nearest
from lesionlens.training.inputs import Inputs

BATCH = 32  # fixed: rounding depends on it, and what is nearest may depend on rounding


@torch.no_grad()
def push(model: Classifier, inputs: Inputs, rows: Sequence[int]) -> None:
    """Every prototype becomes the nearest place of its own class's samples at these positions, which it remembers.

    Of places equally near the one of the lowest sample, then of the lowest row and column. Raises ValueError where a
    class has no sample.
    """
    layer, labels = layer_of(model.eval()), torch.from_numpy(inputs.patches.labels)
    owners, ids = layer.owners.cpu(), torch.from_numpy(inputs.patches.ids)
    count = len(layer.vectors)
    least = torch.full((count,), torch.inf)
    vectors, sources = layer.vectors.detach().clone(), torch.full((count, 3), -1)
    for batch, features in _outputs(model, inputs, rows):
        z, distances = layer.embedded(features), layer.distances(features).cpu()
        columns = distances.shape[3]
        own = labels[batch][:, None] == owners
        flat = distances.flatten(2).masked_fill(~own[:, :, None], torch.inf)
        best, cell = flat.min(dim=2)
        value, sample = best.min(dim=0)
        for j in torch.nonzero(value < least).flatten().tolist():
            n, place = int(sample[j]), int(cell[sample[j], j])
            row, column = divmod(place, columns)
            least[j] = value[j]
            vectors[j] = z[n, :, row, column]
            sources[j] = torch.tensor([int(ids[batch[n]]), row, column])
    if torch.isinf(least).any():
        lost = inputs.patches.classes[int(owners[int(torch.isinf(least).nonzero()[0])])]
        raise ValueError(f"class {lost} has no training sample that could be a prototype")
    layer.vectors.copy_(vectors)
    layer.sources.copy_(sources)


@torch.no_grad()
def prune(model: Classifier, inputs: Inputs, rows: Sequence[int], config: PrototypeConfig) -> None:
    """Drop prototypes of whose `prune[0]` nearest samples fewer than `prune[1]` are of their class.

    The best of a class stays where all of it would go: a class without a prototype could never be predicted.
    """
    layer = layer_of(model.eval())
    _, near = neighbours(model, inputs, rows, config.prune[0])
    owners = layer.owners.cpu()
    own = (torch.from_numpy(inputs.patches.labels)[near] == owners[:, None]).sum(dim=1)
    kept = own >= config.prune[1]
    for label in sorted(set(owners.tolist())):
        of_class = torch.nonzero(owners == label).flatten()
        if not kept[of_class].any():
            kept[of_class[own[of_class].argmax()]] = True
    layer.kept.copy_(kept)


@torch.no_grad()
def neighbours(model: Classifier, inputs: Inputs, rows: Sequence[int], count: int) -> tuple[Tensor, Tensor]:
    """Distances float32 and positions int64 [prototypes, count] of the samples nearest to every prototype.

    A sample's distance is that of its nearest places, averaged as similarities are; of equal ones the lowest first.
    """
    layer = layer_of(model.eval())
    found = [
        nearest(layer.distances(f), layer.topk, largest=False).mean(dim=2).cpu()
        for _, f in _outputs(model, inputs, rows)
    ]
    distances, order = torch.cat(found).T.sort(dim=1, stable=True)
    return distances[:, :count], torch.tensor(list(rows))[order[:, :count]]


def _outputs(model: Classifier, inputs: Inputs, rows: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Positions of a batch's samples, and the output of unit1 for them."""
    for batch in torch.split(torch.tensor(list(rows)), BATCH):
        pixels = inputs(batch).contiguous(memory_format=torch.channels_last)
        yield batch, model.to_level("unit1", pixels)
