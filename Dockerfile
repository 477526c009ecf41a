# One image for every process; the command says which one.
FROM python:3.11-slim AS build
WORKDIR /source
RUN python -m venv /opt/runstream
COPY . .
# The versions that the tests ran with.
RUN /opt/runstream/bin/pip install --no-cache-dir --constraint constraints.txt '.[network,otel]'

FROM python:3.11-slim
# What the tools of the automation and network domains call most.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        iproute2 iputils-ping openssh-client procps tcpdump nmap \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 10001 runstream \
    && install --directory --owner=runstream --mode=700 /keys
COPY --from=build /opt/runstream /opt/runstream
ENV PATH=/opt/runstream/bin:$PATH PYTHONUNBUFFERED=1
USER runstream
WORKDIR /home/runstream
ENTRYPOINT ["runstream"]
