"""What a model learns of images.

objective   what every kind is                     masked_patches   MAE: what hidden patches look like
classes     which class an image is of             contrastive      CLIP: which text goes with which image
mixing      mixup and cutmix of pairs of images

answers             LLaVA: answers to questions about images in a text
pages               Flamingo: what is said of each image on a page
rationales          multimodal chain of thought: what leads to an answer, and the answer behind it
quantised_patches   ViT-VQGAN: patches through the codes of a codebook
image_tokens        Parti: those codes one by one behind a text
token_maps          images of which a pixel is a code
diffusion           what pictures were before noise
noise               schedules of it, and noise by keys

Batches are pure functions of decoded images: every draw follows from a sample's key.
"""
