# The app for a CPU (docker build .) or an NVIDIA GPU (docker build --build-arg DEVICE=cuda .).
ARG DEVICE=cpu

FROM python:3.12-slim AS base
ENV HOME=/data TRADEWIND_CACHE=/data/cache XDG_DATA_HOME=/data/votes HF_HOME=/data/hub PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --home-dir /data tradewind && install -d -o tradewind -g tradewind /data
WORKDIR /app
COPY requirements.txt constraints.txt ./

FROM base AS packages-cpu
# The index of PyTorch's CPU wheels, which its install page names; without it, pip takes the CUDA ones, 3 GB more.
ARG TORCH_INDEX
RUN if [ -n "$TORCH_INDEX" ]; then pip install --index-url "$TORCH_INDEX" "$(grep -o '^torch==[0-9.]*' requirements.txt)"; fi \
    && pip install -r requirements.txt -c constraints.txt

FROM base AS packages-cuda
RUN pip install -r requirements.txt -c constraints.txt

FROM packages-${DEVICE} AS app
COPY LICENSE README.md app.py tradewind.py ./
COPY api api
COPY arena arena
COPY assets assets
COPY common common
COPY lab lab
COPY lm lm
COPY pareto pareto
COPY steering steering
COPY ui ui
USER tradewind
VOLUME /data
EXPOSE 7860
HEALTHCHECK --start-period=120s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:7860/health', timeout=5)"]
CMD ["python", "app.py", "--host", "0.0.0.0", "--port", "7860"]
