"""What a model learns of images.

objective   what every kind is                     masked_patches   MAE: what hidden patches look like
classes     which class an image is of             contrastive      CLIP: which text goes with which image
mixing      mixup and cutmix of pairs of images    weights          of samples, drawn branches of layers
diffusion   what pictures were before noise    noise     schedules, and noise by keys

Batches are pure functions of decoded images: every draw follows from a sample's key.
"""
