"""Scaling laws fitted to a table of finished runs: losses in, coefficients with intervals and sizes out.

table.py           reads and checks a table of runs
minimize.py        BFGS for many small problems at once        regression.py the least Huber loss of a law
power_law.py       straight lines on log axes                   surface.py    a law of the loss of any run
hoffmann.py        L(N, D) = E + A / N^alpha + B / D^beta       optimal.py    the best N and D for a budget
kaplan.py          L(N), L(D), L(C), L(N, D)                    repeated.py   data that is read several times
envelope.py        the lowest of all training curves            isoflop.py    a parabola for each budget
allocation.py      what these two say grows with compute        critical_batch.py
bootstrap.py       intervals by drawing rows again              held_out.py   the largest runs, predicted
forms.py           one entry for each form a user may ask for   result.py     what a fit has found
charts.py          what is drawn of it; pages are in pipeline.reports.scaling

Everything but reading and writing is a pure function of arrays; nothing here needs torch.
"""
