"""Models that read images, on the blocks of every other model.

An input layer turns pixels into hidden states, and nothing behind it knows.

pixels      colours as numbers, patches of them        patches     from pixels to hidden states
tower       the layers of an image tower                heads       what is said of an image
in_text     images in a decoder's sequence          gated       images that a decoder looks at
decoder     what a masked autoencoder restores          pairs       images and texts in one space
quantiser   images as tokens of a codebook             fused       an image in what an encoder says of a text
"""
