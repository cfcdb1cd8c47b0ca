"""Collections of datasets in the words of several templates (Wei et al. 2022, FLAN; Sanh et al. 2022, T0).

reading     a collection's file: datasets, their clusters, their templates
mixing      which clusters are held out, and how much of each dataset is drawn: pure functions
"""
