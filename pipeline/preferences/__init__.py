"""Learning from what is preferred: comparisons of answers, rewards, and answers that a model gives itself.

rankings    comparison files in, prompts with answers and who beats whom out
comparisons the `BatchSource` of reward models and DPO: all answers to a prompt side by side
measure     what a reward model is worth: accuracy, calibration, normalisation
"""
