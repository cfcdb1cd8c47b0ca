"""Learning from what is preferred: comparisons of answers, rewards, and answers that a model gives itself.

rankings    comparison files in, prompts with answers and who beats whom out
comparisons the `BatchSource` of reward models and DPO: all answers to a prompt side by side
measure     what a reward model is worth: accuracy, calibration, normalisation
prompts     prompts to answer                        rules      rewards by rule, and those from outside
rewards     models and rules with weights            advantages from scores to advantages: pure functions
methods     GRPO and PPO as such functions           rollouts   answers as rows, scored by every model
sampler     a copy of the policy that generates      experience rollouts, minibatches, what a checkpoint keeps
ratios      why answers are not scored as drawn      asking     a finished run's answers, in one process
remote      rewards at an address                  sandbox    programs of a model, within bounds
frontier    gold and proxy reward over the divergence
"""
