"""How the built-in models are made and measured: scripts for people who want to make them again.

`python -m pipeline.training.train_ct_levels` trains the network of `builtin/ct-levels` on phantoms alone;
`python -m pipeline.training.evaluate_builtin` prints the tables of the models' cards.
"""
