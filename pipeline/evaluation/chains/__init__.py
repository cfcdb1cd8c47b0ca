"""Chains of thought: ways to make a model reason in words before it answers, each a function over questions.

direct             the answer at once
few_shot           behind examples that reason (Wei et al. 2022)
zero_shot          "Let's think step by step.", then the answer (Kojima et al. 2022)
self_consistency   the answer of most of several drawn chains (Wang et al. 2022)
auto_chains        examples for few_shot, one a cluster of questions (Zhang et al. 2022)
least_to_most      easier questions first, each with the answers before (Zhou et al. 2022)

They are given questions and how to ask a model, and combine: `self_consistency(few_shot(auto_chains(...)))`.
"""
