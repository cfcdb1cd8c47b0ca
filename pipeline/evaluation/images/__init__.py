"""What trained models see in images.

loading    a model's towers in one process        prompts    classes by texts that name them
retrieval  own texts, own images                  restored   hidden patches
baselines  what is trained beside a transformer   judged     generated pictures, by the oracle of shapes
asking     answers with and without the picture   reasoning  rationales, and answers behind them
prompted   what a generator is asked for           sheet      small pictures on one
"""
