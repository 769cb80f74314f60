"""Reporting checklists as evidence sheets: what a run can fill in, and on which question that rests.

Items are paraphrased. Nothing here judges a risk of bias: that is for people.
"""
