"""The statistics of an evaluation: plain functions over numpy arrays, each with the source of its formula.

They take nothing from a store and know no table. What cannot be estimated is None with a reason, never a number.
"""
