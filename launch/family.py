"""Processes that do not outlive the one that started them: see `data_prep.contract.family`."""

from data_prep.contract.family import die_with_parent as die_with_parent
