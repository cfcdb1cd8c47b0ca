"""Classes told apart by texts that name them, untrained (Radford et al. 2021, section 3.1)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from data_prep.contract.settings import InputError
from pipeline.evaluation.images.loading import ImageModel

PLACE = "{}"


def class_features(model: ImageModel, classes: Sequence[str], templates: Sequence[str]) -> Tensor:
    """[classes, D], of each class the mean over templates of features of length one, of length one again.

    Raises `InputError` for a template without exactly one place for the class.
    """
    for template in templates:
        if template.count(PLACE) != 1:
            raise InputError(
                f"templates: {template!r} has not exactly one {PLACE} for a class; 'a {PLACE}' has"
            )
    texts = [template.replace(PLACE, name) for name in classes for template in templates]
    features = model.text_features(texts).unflatten(0, (len(classes), len(templates)))
    return F.normalize(features.mean(1), dim=1)


def hits(features_BD: Tensor, classes_CD: Tensor, labels_B: Tensor, k: int) -> Tensor:
    """[B] whether the right class is among the k nearest."""
    best = (features_BD @ classes_CD.t()).topk(min(k, len(classes_CD)), 1).indices
    found: Tensor = (best == labels_B.unsqueeze(1)).any(1)
    return found
