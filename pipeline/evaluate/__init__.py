"""Results against a reference standard: matches, metrics with intervals, sites pooled, recipes compared.

See `evaluation` for the whole, `statistics` for the formulas.
"""
