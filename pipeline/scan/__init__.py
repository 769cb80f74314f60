"""One scan under one recipe, in one process: read, detect, tally, write the masks, and give the row.

`process` does it; `request` is what it is told, `finding` runs the models, `borrowed` and `remeasure` stand in for
them.
"""
