"""One module per format of model, each with `open_model(spec, place)`.

- `torch_files`: MONAI network with safetensors, torch.export, TorchScript
- `openvino_files`: ONNX and OpenVINO IR
- `bundle`: MONAI bundle
- `nnunet`: nnU-Net v2 results folder
- `command`: an outside program
- `threshold`: a rule on uptake, no network
"""
