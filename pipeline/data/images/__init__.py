"""Pictures to the batches of a training loop, in the same exact order as text.

stream       sample numbers in, `ImageSamples` out: order, decoding, the draws of a sample
maker        the batches of a step
views        a picture to the square of pixels that the model is given
randaugment  the operations of RandAugment

Pillow decodes and resamples; what is drawn is a function of (seed, epoch, sample) and of the recipe.
"""
