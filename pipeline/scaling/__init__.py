"""Scaling laws fitted to a table of finished runs: losses in, coefficients with intervals and sizes out.

table.py           reads and checks a table of runs
minimize.py        BFGS for many small problems at once        power_law.py  straight lines on log axes
hoffmann.py        L(N, D) = E + A / N^alpha + B / D^beta       optimal.py    the best N and D for a budget
envelope.py        the lowest of all training curves            isoflop.py    a parabola for each budget
kaplan.py          L(N), L(D), L(C), L(N, D)                    critical_batch.py
repeated.py        the law for data that is read several times
bootstrap.py       intervals by drawing rows again              held_out.py   the largest runs, predicted
forms.py           one entry for each form a user may ask for   report.py     tables and charts of a fit

Everything but reading and writing is a pure function of arrays; nothing here needs torch.
"""
