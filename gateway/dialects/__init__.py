"""The languages clients speak: each turns its own requests into Open Inference Protocol terms and back."""
