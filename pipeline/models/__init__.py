"""Models: what each says of itself, how each format is opened, and one way to run them all.

- `predictor`: what every model can be asked for, whatever its format
- `registry`: a name, folder or s3:// address to the model, opened once per process
- `device`: one lock per device, and how long was waited for it
- `network`: a batch of windows to class scores, on torch or OpenVINO
- `formats`: one module per format, each with `open_model`
- `builtin`: the models that come with spinetally
"""
