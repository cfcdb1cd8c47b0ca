"""Image models as transformers' folders and back, proved as those of texts are.

family    what a family is called there            tables     its tensors by ours
export    a run to a folder                        imports    a folder to a run of step 0
agreement both models on the same pixels
"""
