# The GPU deployment: upstream Triton 24.10 (server 2.51.0, the version the CPU demo runs) with the example models.
# Build from the repository root: docker build -f serving-image/triton.Dockerfile -t penstock-triton .
# Run:                            docker run --gpus all -p 8000-8002:8000-8002 penstock-triton
# UNTESTED: this repository is developed where no container engine runs. What it copies and calls is tested without one.

FROM python:3.11-slim AS models
WORKDIR /build
COPY serving-image/ .
# The PyTorch index is the builder's choice (pip configuration or PIP_EXTRA_INDEX_URL); a CPU build is enough to train.
RUN pip install --no-cache-dir --require-hashes --no-deps -r requirements.lock && pip install --no-cache-dir torch==2.13.0
RUN python training/train.py --out trained && python assemble.py --weights trained/weights --out model_repository.built

FROM nvcr.io/nvidia/tritonserver:24.10-py3
# numpy 1: with numpy 2 this server's Python backend answers with empty tensors.
RUN pip install --no-cache-dir torch==2.13.0 safetensors==0.8.0 "numpy<2"
COPY --from=models /build/model_repository.built /models
USER triton-server
EXPOSE 8000 8001 8002
# instance_group KIND_AUTO puts the digit models on the GPU; completing configs would run every model.py once more.
CMD ["tritonserver", "--model-repository=/models", "--model-control-mode=explicit", "--disable-auto-complete-config", \
     "--load-model=digits_fast", "--load-model=digits_balanced", "--load-model=digits_accurate"]
