"""K-means of several sets of points at once, without chance."""

import torch
from torch import Tensor


def clustered(points: Tensor, num: int, rounds: int) -> tuple[Tensor, Tensor]:
    """Return centroids and the nearest centroid of each point, by Euclidean distance.

    The first centroids are points at even distances in their order, so that the same points give the same clusters. A
    centroid that loses all its points stays where it was.

    Source: Lloyd, Least squares quantization in PCM, 1982.

    Args:
        points: (sets, points, dims) float32.
        num: clusters, 1 to the number of points.
        rounds: how often centroids move, 0 or more.

    Returns:
        (sets, num, dims) float32 and (sets, points) int64.
    """
    first = torch.arange(num, device=points.device) * points.shape[1] // num
    centroids = points[:, first].clone()
    for _ in range(rounds):
        means, sizes = means_of(points, nearest(points, centroids), num)
        centroids = torch.where(sizes.unsqueeze(-1) > 0, means, centroids)
    return centroids, nearest(points, centroids)


def nearest(points: Tensor, centroids: Tensor) -> Tensor:
    """Return which centroid is nearest to each point, by Euclidean distance: (sets, points) int64."""
    half = centroids.square().sum(-1).unsqueeze(1) / 2
    return (points @ centroids.transpose(1, 2) - half).argmax(-1)


def means_of(points: Tensor, owners: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """Return the mean of each cluster's points, 0 where it has none, and how many it has.

    Args:
        points: (sets, points, dims) float32.
        owners: (sets, points) int64, below `num`.
        num: clusters.

    Returns:
        (sets, num, dims) float32 and (sets, num) float32.
    """
    sizes = points.new_zeros((points.shape[0], num)).scatter_add_(1, owners, points.new_ones(owners.shape))
    sums = points.new_zeros((points.shape[0], num, points.shape[2]))
    sums.scatter_add_(1, owners.unsqueeze(-1).expand_as(points), points)
    return sums / sizes.clamp_min(1).unsqueeze(-1), sizes
