"""The engine: from a volume to what a network says of it, in bounded memory.

`preprocess` and `resample` bring a volume to a model's grid, `window` runs the network over it, `reduce` brings scores
back as labels, `detect` makes lesions of them. `axis_map` is what resampling is made of.
"""
