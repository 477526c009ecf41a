# Two images, each for every process; the command says which one:
#   docker build --tag runstream .                        what all but the tools' programs needs
#   docker build --tag runstream:tools --target tools .   with the programs of the tools
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
RUN python -m venv /opt/runstream
COPY . .
# The versions that the tests ran with.
RUN /opt/runstream/bin/pip install --no-cache-dir --constraint constraints.txt '.[network,otel,vault,aws]'

FROM python:3.11-slim-bookworm AS base
# What the tools of the automation and network domains call most.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        iproute2 iputils-ping nmap openssh-client procps tcpdump \
    && rm -rf /var/lib/apt/lists/*
# Volumes of these folders belong to the user.
RUN useradd --create-home --uid 10001 runstream \
    && install --directory --owner=runstream --mode=700 /keys /captures
COPY --from=build /opt/runstream /opt/runstream
ENV PATH=/opt/runstream/bin:$PATH PYTHONUNBUFFERED=1
USER runstream
WORKDIR /home/runstream
ENTRYPOINT ["runstream"]

# Every program of the catalogue that Debian has and that acts from a container: `runstream tools
# check` in it lists the others.
FROM base AS tools
USER root
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        ansible-core arp-scan awscli bind9-dnsutils bind9-host bsdutils collectd-core coreutils \
        docker-compose docker.io findutils gawk git grep hostname iptables kubectx \
        kubernetes-client logrotate lsb-release mariadb-client mariadb-client-core masscan \
        net-tools netdiscover ngrep openssl postgresql-client-15 psmisc python3-minimal \
        redis-tools rsync sed sqlite3 tcpflow traceroute tshark \
    && rm -rf /var/lib/apt/lists/*
USER runstream

FROM base AS runstream
