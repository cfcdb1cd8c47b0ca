"""What a masked autoencoder makes of images of which it sees a quarter."""

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.evaluation.images.loading import ImageModel
from pipeline.models.vision.pixels import coloured, normalised, patched, unpatched
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.masked_patches import PATCH_EPSILON, masked_images
from pipeline.objectives.vision.objective import vision_of

GREY = 128


@torch.inference_mode()
def restored(model: ImageModel, samples: ImageSamples) -> tuple[NDArray[np.uint8], float, float]:
    """[3, B, Y, X, 3] images as they are, what is seen of them, and what is made of that; the loss, and that
    of a guess of every patch's own mean.

    Patches that are seen stay. Where the model was trained on patches less their own mean over their own
    deviation it says nothing of either, and the true ones are taken, as in the paper's figures.
    """
    objective, vision = model.config.objective, vision_of(model.config)
    own = objective.normalised_patches
    batch = masked_images(samples, vision, objective.density, own)
    inputs = {
        name: torch.from_numpy(batch[name]).to(model.device) for name in ("pixels", "visible", "restore")
    }
    said_BNP = model.whole(inputs)["restored"].transpose(0, 1).float().cpu()
    hidden_BN = torch.from_numpy(batch["patch_weights"])
    errors_BN = (said_BNP - torch.from_numpy(batch["wanted"])).square().mean(2)
    true_BNP = patched(normalised(torch.from_numpy(samples.pixels), vision), vision.patch_size)
    if own:
        middle = true_BNP.mean(2, keepdim=True)
        said_BNP = said_BNP * (true_BNP.var(2, keepdim=True) + PATCH_EPSILON).sqrt() + middle
    mask_BN1 = hidden_BN.unsqueeze(2)
    shown = coloured(torch.where(mask_BN1 > 0, said_BNP, true_BNP), vision).numpy()
    whole = torch.from_numpy(samples.pixels.astype(np.float32))
    grey = torch.full_like(true_BNP, GREY)
    seen = torch.where(mask_BN1 > 0, grey, patched(whole, vision.patch_size))
    visible = unpatched(seen, vision.patch_size).to(torch.uint8).numpy()
    loss = float((errors_BN * hidden_BN).sum() / hidden_BN.sum())
    plain_BNP = torch.from_numpy(batch["wanted"])
    guesses_BN = (plain_BNP - plain_BNP.mean(2, keepdim=True)).square().mean(2)
    guess = float((guesses_BN * hidden_BN).sum() / hidden_BN.sum())
    return np.stack([samples.pixels, visible, shown]), loss, guess
