"""Preparation of pictures, with captions or labels or both: raw files in, a dataset of pictures out.

sources      folders, tars, tables, crawls and the generator of shapes: one item a picture, its bytes as found
handling     bytes to the stored picture: decoded, turned, laid on white, resized, encoded again
hashes       what duplicates are found by
rules        which pictures and captions stay
duplicates   equal and nearly equal pictures, of which one stays
collect      the first step, per group of files      decide   the last one before the shards
shards       pictures in their shuffled order, in tars
preparation  the steps; `stage` is the kind of stage, `repair` what of a finished dataset is missing
sheet        pictures of a dataset side by side, for `bloomery inspect`

It shares with text the parts, Ray, receipts, the funnel and the shuffled order.
"""
